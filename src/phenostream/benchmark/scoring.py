"""Scores of a screen: what a model understands of experiments that it never saw, beside what trivial means do.

Accuracy of calls (by site, by well, by cell type, and apart from these what layouts add), and scores of embeddings,
both beside chance, the brightness of an image and the mean brightness of its plate; intervals are by experiment.
"""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from phenostream.benchmark.activity import whole_of
from phenostream.benchmark.calling import Rows, calls, centroid_logs, interval, layout_of, means
from phenostream.benchmark.metrics.accuracy import found_within
from phenostream.benchmark.perturbations import How, Wells, embedding_scores, standardised, typical_variation
from phenostream.benchmark.statistics import permuted_within
from phenostream.errors import (
    DamagedError,
    EmptyError,
    LeakageError,
    NotFiniteError,
    NotFoundError,
    PhenostreamError,
)
from phenostream.profiles.groups import as_text, control_rows
from phenostream.profiles.statistics import matrix
from phenostream.profiles.tables import feature_names, open_table, require
from phenostream.values import columns_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phenostream.profiles.tables import Source

    Floats = NDArray[np.float64]
    Told = dict[str, Any]

Where = dict[str, str | int | float | tuple[str | int | float, ...]]
# Shuffles behind the figures by chance, and bootstrap samples of each at most.
_SHUFFLES, _CHANCE_DRAWS = 10, 100
_PROBABILITY, _BRIGHTNESS = "LogProbability", "PixelMean"


class ScoreSettings(BaseModel):
    """Which columns say what, and how sure figures are made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    perturbation: str = Field("Metadata_Sirna_Id", description="column of the perturbation; the classes' own words")
    batch: str = Field(
        "Metadata_Experiment", description="column of the experiment; Metadata_Plate where there is none"
    )
    plate: str = Field("Metadata_Plate", description="column of the plate")
    well: str = Field("Metadata_Well", description="column of the well, within its plate")
    cell_type: str = Field("Metadata_Cell_Type", description="column of the cell type, where it is")
    treated: Where = Field({"Metadata_Well_Type": "treatment"}, description="rows that are judged")
    controls: Where = Field(
        {"Metadata_Well_Type": ("negative_control", "positive_control")},
        description="rows on which batches are aligned: with one untreated well a plate, positive controls, too",
    )
    negatives: Where = Field({"Metadata_Well_Type": "negative_control"}, description="rows without an effect")
    unseen: Where = Field(
        {"Metadata_Seen": "no"}, description="rows of experiments that neither taught the model nor chose its weights"
    )
    left_out: str = Field(
        "Metadata_Left_Out",
        description="column with the reason why a row has no numbers, where it is; empty for others",
    )
    align: Literal["whiten", "coral"] = Field(
        "whiten", description="form of TVN: whiten, as in EFAAR; coral, for batches that lie apart"
    )
    relations: Path | None = Field(None, description="CSV with entity1,entity2: annotated pairs")
    entity: str = Field("", description="column whose words `relations` uses; empty: `perturbation`")
    draws: int = Field(500, ge=0, le=100_000, description="bootstrap samples behind each interval; 0: none")
    null: int = Field(1000, ge=100, le=1_000_000, description="sets behind each null distribution")
    seed: int = Field(0, ge=0, description="of all draws")


@dataclass(frozen=True, slots=True)
class _Screen:
    """The table, read.

    Attributes:
        rows: all sites, labels as places among `classes` or, without a classifier, among the treatments.
        chosen: (n,) sites that are judged: treated, with a label, of unseen experiments; `controls` and `negatives`
            those of the same experiments.
        embedding: (n, D).
        brightness: (n, C) logarithm of mean grey levels; None where the table has none.
        told: whether the table says what was learnt from.
        left_out: rows without numbers, by their reason; they are none of the n.
    """

    rows: Rows
    classes: list[str]
    names: NDArray[np.str_]
    entity: NDArray[np.str_]
    chosen: NDArray[np.bool_]
    treated: NDArray[np.bool_]
    fresh: NDArray[np.bool_]
    controls: NDArray[np.bool_]
    negatives: NDArray[np.bool_]
    embedding: Floats
    brightness: Floats | None
    told: bool
    left_out: dict[str, int]


def score(where: Source | pa.Table | str | Path, settings: ScoreSettings | None = None, **given: Any) -> Told:
    """All scores of a table with a row a site, as `phenostream.training.classification.applying` writes it.

    Args:
        where: table in memory, Parquet file or folder. Features are the embedding; columns of the families
            ``LogProbability`` (optional: without them there is no accuracy) and ``PixelMean`` (for the baselines).
        settings: see :class:`ScoreSettings`; or its fields by name.
        given: fields of the settings.

    Returns:
        Plain JSON values: ``screen`` (counts), ``accuracy`` with its ``baselines``, ``embedding`` by method (``model``,
        ``brightness``, ``plate_mean``, ``chance``) and correction (``raw``, ``tvn``), ``settings``.

    Raises:
        NotFoundError: a column or file that is not there.
        EmptyError: nothing is treated, nothing has a label, or no class is shared.
        LeakageError: every row is of an experiment that was learnt from.
        NotFiniteError: NaN in embedding or probabilities.
        DamagedError: a table of relations that cannot be read.
    """
    chosen = settings or ScoreSettings(**given)
    screen = _read(open_table(where), chosen)
    relations = read_relations(chosen.relations) if chosen.relations else None
    told: Told = {"screen": _counts(screen), "settings": chosen.model_dump(mode="json")}
    if screen.rows.logs.shape[1]:
        told["accuracy"] = _accuracy(screen, chosen)
    told["embedding"] = _embedding(screen, How(chosen.draws, chosen.null, chosen.seed, relations), chosen.align)
    return told


def read_relations(path: Path) -> list[tuple[str, str]]:
    """Annotated pairs of a CSV with the columns ``entity1`` and ``entity2``. Raises DamagedError, NotFoundError."""
    source = Path(path)
    if not source.is_file():
        raise NotFoundError(f"no table of relations at {source}", remedy="give a CSV with entity1,entity2")
    try:
        with source.open(newline="", encoding="utf-8") as file:
            return [(row["entity1"], row["entity2"]) for row in csv.DictReader(file)]
    except (KeyError, UnicodeDecodeError, csv.Error) as error:
        raise DamagedError(f"{source} is no CSV with entity1,entity2: {error}") from error


def _read(source: Source, told: ScoreSettings) -> _Screen:
    schema = source.schema()
    roles = columns_of(schema)
    features = feature_names(schema)
    logs, bright = ([one.name for one in roles if one.family == family] for family in (_PROBABILITY, _BRIGHTNESS))
    known = set(schema.names)
    unseen = {name: value for name, value in told.unseen.items() if name in known}
    keys = [told.perturbation, told.batch, told.plate, told.well, *told.treated, *told.controls, *told.negatives]
    keys += [told.entity] if told.entity else []
    require(schema, keys)
    optional = [name for name in (told.cell_type, told.left_out) if name in known]
    names = list(dict.fromkeys([*keys, *optional, *unseen, *features, *logs, *bright]))
    table, left_out = _with_numbers(whole_of(source, names), told.left_out)
    treated, fresh = control_rows(table, told.treated), control_rows(table, unseen)
    perturbation = _texts(table, told.perturbation)
    _refuse(table.num_rows, treated, fresh, perturbation != "", told)
    controls = control_rows(table, told.controls)
    classes, columns = _classes(logs, perturbation, treated, controls)
    batch, plate = _texts(table, told.batch), _texts(table, told.plate)
    chosen = treated & fresh & (perturbation != "")
    beside = fresh & np.isin(batch, batch[chosen])
    place = {name: number for number, name in enumerate(classes)}
    rows = Rows(
        np.array([place.get(one, -1) for one in perturbation.tolist()], np.int64),
        batch, plate, np.char.add(np.char.add(plate, "/"), _texts(table, told.well)),
        _texts(table, told.cell_type) if told.cell_type in known else np.full(table.num_rows, ""),
        _numbers(table, columns),
    )  # fmt: skip
    return _Screen(
        rows, classes, perturbation, _texts(table, told.entity) if told.entity else perturbation, chosen,
        treated, fresh, controls & beside, control_rows(table, told.negatives) & beside, _numbers(table, features),
        np.log(_numbers(table, bright) + 1.0) if bright else None, bool(unseen), left_out,
    )  # fmt: skip


def _with_numbers(table: pa.Table, column: str) -> tuple[pa.Table, dict[str, int]]:
    """The rows for which `column` gives no reason to be left out, and how many it gives one for. Raises EmptyError."""
    if column not in table.column_names:
        return table, {}
    reason = _texts(table, column)
    told = dict(sorted(Counter(reason[reason != ""].tolist()).items()))
    if told and (reason != "").all():
        shown = ", ".join(f"{count:,} {name}" for name, count in told.items())
        raise EmptyError(f"every row of the table is left out: {shown}", remedy="pack and embed sites that have pixels")
    return table.filter(pa.array(reason == "")), told


def _refuse(
    size: int, treated: NDArray[np.bool_], fresh: NDArray[np.bool_], labelled: NDArray[np.bool_], told: ScoreSettings
) -> None:
    if not size or not treated.any():
        raise EmptyError(f"no row is treated: {told.treated}", remedy="say which are with `treated`")
    if not (treated & fresh).any():
        raise LeakageError(
            "every treated row is of an experiment or plate that the model has learnt from or was chosen on",
            remedy="embed experiments that it has not seen; or judge by them knowingly with `unseen: {}`",
        )
    if not (treated & fresh & labelled).any():
        raise EmptyError(
            f"none of the {int((treated & fresh).sum()):,} treated sites of unseen experiments has a"
            f" {told.perturbation}",
            remedy="test sites of a competition have none: keep experiments whose labels are known from training",
        )


def _classes(
    logs: list[str], perturbation: NDArray[np.str_], treated: NDArray[np.bool_], controls: NDArray[np.bool_]
) -> tuple[list[str], list[str]]:
    """Classes that calls choose from, and their columns: what was learnt, without what only controls are."""
    if not logs:
        return sorted(set(perturbation[treated].tolist()) - {""}), []
    only = set(perturbation[controls].tolist()) - set(perturbation[treated].tolist())
    kept = [name for name in logs if name.removeprefix(f"{_PROBABILITY}_") not in only]
    return [name.removeprefix(f"{_PROBABILITY}_") for name in kept], kept


def _texts(table: pa.Table, name: str) -> NDArray[np.str_]:
    return np.array(["" if one is None else one for one in as_text(table[name]).to_pylist()], dtype=np.str_)


def _numbers(table: pa.Table, names: list[str]) -> Floats:
    values = matrix(table, names) if names else np.zeros((table.num_rows, 0))
    if np.isnan(values).any():
        raise NotFiniteError(
            f"{int(np.isnan(values).any(axis=1).sum()):,} rows with gaps in {names[0]} and its like",
            remedy="leave these rows out, counted",
        )
    return np.asarray(values, float)


def _counts(screen: _Screen) -> Told:
    rows, chosen = screen.rows, screen.chosen
    return {
        "sites": int(chosen.sum()),
        "wells": len(np.unique(rows.well[chosen])),
        "experiments": np.unique(rows.batch[chosen]).tolist(),
        "perturbations": len(set(screen.names[chosen].tolist())),
        "classes": len(screen.classes),
        "sites_without_label": int((screen.treated & screen.fresh & ~chosen).sum()),
        "sites_left_out": screen.left_out,
        "sites_of_unknown_class": int((rows.label[chosen] < 0).sum()),
        "sites_seen_in_training": int((screen.treated & ~screen.fresh).sum()),
        "seen_is_told": screen.told,
        "negative_control_wells": len(np.unique(rows.well[screen.negatives])),
    }


def _accuracy(screen: _Screen, told: ScoreSettings) -> Told:
    rows, chosen = screen.rows, screen.chosen
    learnt = rows.take(screen.treated & ~screen.fresh)
    judged = rows.take(chosen)
    found = calls(judged, layout_of(learnt, len(screen.classes)), draws=told.draws, seed=told.seed)
    baselines: Told = {"chance": {"value": 1 / len(screen.classes)}}
    for name, values in _trivial(screen).items():
        baselines[name] = _share(_centroid_calls(screen, values), judged.batch, told)
    return {**found, "baselines": baselines}


def _share(first: Floats, batch: NDArray[np.str_], told: ScoreSettings) -> Told:
    return interval(lambda at: float(first[at].mean()), batch, draws=told.draws, seed=told.seed)


def _centroid_calls(screen: _Screen, values: Floats) -> Floats:
    """(judged,) whether the nearest centroid of the learnt experiments (or of all others) is that of the class."""
    rows, seen = screen.rows, screen.treated & ~screen.fresh
    fit = seen if seen.any() else screen.treated
    logs = centroid_logs(values, rows.label, rows.batch, fit, len(screen.classes))
    return found_within(logs[screen.chosen], rows.label[screen.chosen])


def _trivial(screen: _Screen) -> dict[str, Floats]:
    """What needs no model: brightness within its plate, and the plate's mean brightness; both by channel."""
    if screen.brightness is None:
        return {}
    _, plate = np.unique(screen.rows.plate, return_inverse=True)
    mean = means(screen.brightness, plate.ravel(), int(plate.max(initial=0)) + 1)[plate.ravel()]
    return {"brightness": screen.brightness - mean, "plate_mean": mean}


def _embedding(screen: _Screen, how: How, align: str) -> Told:
    rows = screen.rows
    used = screen.chosen | screen.controls | screen.negatives
    _, first, code = np.unique(rows.well[used], return_index=True, return_inverse=True)
    wells = _wells(screen, used, first)
    control, batch = screen.controls[used], rows.batch[used]

    def by_well(values: Floats) -> Floats:
        return means(values, code.ravel(), len(first))

    told: Told = {}
    for name, values in {"model": screen.embedding, **_trivial(screen)}.items():
        told[name] = {"raw": embedding_scores(by_well(standardised(values[used])), wells, how)}
        try:
            aligned = by_well(typical_variation(values[used], batch, control, align=align))
        except PhenostreamError as error:
            told[name]["tvn"] = {"reason": error.message}
        else:
            told[name]["tvn"] = embedding_scores(aligned, wells, how)
    told["chance"] = {"raw": _chance(by_well(standardised(screen.embedding[used])), wells, how)}
    return told


def _chance(values: Floats, wells: Wells, how: How) -> Told:
    """What the embedding gives when perturbations change places within their experiments: the mean of some shuffles.

    So are the ends of the intervals; maps are not drawn again.
    """
    found = []
    for seed in range(how.seed, how.seed + _SHUFFLES):
        order = permuted_within(np.arange(len(wells.label)), np.where(wells.label >= 0, wells.batch, -1), rng=seed)
        shuffled = replace(wells, label=wells.label[order], entity=wells.entity[order])
        found.append(
            embedding_scores(values, shuffled, How(min(how.draws, _CHANCE_DRAWS), 100, seed, how.relations, maps=0))
        )
    return {name: _average([one[name] for one in found]) for name in found[0] if isinstance(found[0][name], dict)}


def _average(told: list[Told]) -> Told:
    """The means of values and of the ends of their intervals."""
    if "value" not in told[0]:
        return {
            name: _average([one[name] for one in told]) for name, value in told[0].items() if isinstance(value, dict)
        }
    found = {name: [one[name] for one in told if one.get(name) is not None] for name in ("value", "low", "high")}
    return {name: float(np.mean(values)) if values else None for name, values in found.items()}


def _wells(screen: _Screen, used: NDArray[np.bool_], first: NDArray[np.intp]) -> Wells:
    treated, control = screen.chosen[used][first], screen.negatives[used][first]
    names = screen.names[used][first]
    _, batch = np.unique(screen.rows.batch[used][first], return_inverse=True)
    entity = np.where(treated, screen.entity[used][first], "")
    return Wells(
        _numbered(names, treated), batch.ravel().astype(np.int64), control, entity,
        _numbered(names, control & (names != "")),
    )  # fmt: skip


def _numbered(names: NDArray[np.str_], rows: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(n,) number of each name among those of `rows`; -1 for other rows."""
    found = np.full(len(names), -1, np.int64)
    found[rows] = np.unique(names[rows], return_inverse=True)[1].ravel()
    return found
