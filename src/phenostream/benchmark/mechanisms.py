"""Mechanisms: does the nearest treatment of another compound share the mechanism of action?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from phenostream.benchmark.activity import codes_of, usable, whole_of
from phenostream.benchmark.metrics.average_precision import Similarity  # noqa: TC001  (pydantic reads it)
from phenostream.benchmark.metrics.nearest_neighbour import Neighbours, nearest_neighbour
from phenostream.benchmark.statistics import bootstrap, leave_one_out
from phenostream.errors import RecipeError
from phenostream.profiles.groups import as_text, known_rows
from phenostream.profiles.tables import feature_names, open_table, require

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from phenostream.profiles.tables import Source

    Floats = NDArray[np.float64]

Names = tuple[str, ...]
Candidate = TypeVar("Candidate")


class MechanismSettings(BaseModel):
    """What the columns are called, and how profiles are compared."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mechanism: str = Field("Metadata_Mechanism", description="column of the mechanism; rows without one take no part")
    compound: str = Field("Metadata_Compound", description="column of the compound: neighbours may not share it")
    treatment: Names = Field(
        ("Metadata_Compound", "Metadata_Concentration"),
        description="columns that make rows replicates of one treatment",
    )
    batch: str = Field(
        "", description="column of the batch: for NSCB, neighbours may not share any of them; none: no NSCB"
    )
    exclude: Names = Field((), description="values of `mechanism` that take no part (DMSO)")
    features: Literal["model", "all"] | Names = Field("model", description="as in profiles: model, all, or names")
    average: Literal["mean", "median"] = Field("mean", description="how replicates become one profile")
    similarity: Similarity = Field("correlation", description="correlation, cosine or euclidean")
    draws: int = Field(1000, ge=0, description="bootstrap samples of compounds behind the interval; 0 for none")
    seed: int = Field(0, ge=0, description="of the bootstrap")


@dataclass(frozen=True, slots=True, eq=False)
class Treatments:
    """One profile a treatment.

    Attributes:
        profiles: (n, features).
        names: (n,) treatment in words.
        compounds: (n,).
        mechanisms: (n,).
        batches: the batches that each was seen in; empty sets without a batch column.
    """

    profiles: Floats
    names: NDArray[Any]
    compounds: NDArray[Any]
    mechanisms: NDArray[Any]
    batches: tuple[frozenset[str], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Mechanisms:
    """What was found.

    Attributes:
        treatments: the profiles that were compared.
        nsc: neighbours of other compounds.
        nscb: neighbours of other compounds and other batches; None without a batch column.
        told: settings, accuracies, intervals over compounds, counts, as plain JSON values.
    """

    treatments: Treatments
    nsc: Neighbours
    nscb: Neighbours | None
    told: dict[str, Any]

    def table(self) -> pa.Table:
        """One row a treatment: what it is, its nearest neighbour by each rule, and whether that is right."""
        made = {
            "treatment": self.treatments.names,
            "compound": self.treatments.compounds,
            "mechanism": self.treatments.mechanisms,
        }
        for name, found in (("nsc", self.nsc), ("nscb", self.nscb)):
            if found is not None:
                nearest = np.where(found.neighbour >= 0, self.treatments.names[found.neighbour], "")
                called = np.where(found.neighbour >= 0, self.treatments.mechanisms[found.neighbour], "")
                made |= {f"{name}_neighbour": nearest, f"{name}_called": called, f"{name}_right": found.right}
        return pa.table({name: pa.array(values.tolist()) for name, values in made.items()})


def mechanisms(
    where: Source | pa.Table | str | Path, settings: MechanismSettings | None = None, **given: Any
) -> Mechanisms:
    """Not-same-compound (and batch) accuracy of treatments (Ljosa et al. 2013; Ando, McLean and Berndl 2017).

    Args:
        where: profiles of wells, normalised: a table in memory, a Parquet file or folder.
        settings: see :class:`MechanismSettings`; or its fields by name.
        given: fields of the settings.

    Returns:
        Accuracies. ``asked``: treatments with an allowed neighbour, which ``accuracy`` and ``interval`` are over.
        ``answerable``: those whose mechanism some allowed neighbour has, with ``answerable_accuracy`` and
        ``answerable_interval``; published NSCB figures are over these. Rows without a value in a column that is used,
        and features and profiles as in :func:`~phenostream.benchmark.activity.usable`, are left out, counted.

    Raises:
        NotFoundError: a column that is missing.
        RecipeError: fewer than two compounds.
    """
    chosen = settings or MechanismSettings(**given)
    treatments, left_out = treated(where, chosen)
    arguments = (treatments.profiles, treatments.mechanisms, treatments.compounds)
    nsc = nearest_neighbour(*arguments, similarity=chosen.similarity)
    nscb = None
    if chosen.batch:
        nscb = nearest_neighbour(*arguments, batches=treatments.batches, similarity=chosen.similarity)
    told = {
        "settings": chosen.model_dump(mode="json"),
        "treatments": len(treatments.names),
        "compounds": len(np.unique(treatments.compounds)),
        "mechanisms": len(np.unique(treatments.mechanisms)),
        **left_out,
        "nsc": _figures(nsc, treatments, chosen),
        **({"nscb": _figures(nscb, treatments, chosen)} if nscb else {}),
    }
    return Mechanisms(treatments, nsc, nscb, told)


def treated(where: Source | pa.Table | str | Path, chosen: MechanismSettings) -> tuple[Treatments, dict[str, Any]]:
    """Rows with a mechanism, averaged by treatment; and what was left out."""
    source = open_table(where)
    names = feature_names(source.schema(), chosen.features)
    keys = list(
        dict.fromkeys([chosen.mechanism, chosen.compound, *chosen.treatment, *([chosen.batch] if chosen.batch else [])])
    )
    require(source.schema(), keys)
    table = whole_of(source, [*keys, *names])
    known = np.array(
        [one not in (None, "", *chosen.exclude) for one in as_text(table.column(chosen.mechanism)).to_pylist()]
    )
    named = known_rows(table, keys)
    if (known & named).sum() < 2:
        raise RecipeError("no two rows have a mechanism", remedy="annotate the table first")
    found = usable(table, names, known & named)
    left_out = {
        "rows_without_mechanism": int((~known).sum()),
        "rows_without_annotation": int((known & ~named).sum()),
        **found.told,
    }
    table, values = table.filter(pa.array(found.rows)), found.values
    codes = codes_of(table, chosen.treatment)
    order = [np.flatnonzero(codes == one) for one in range(int(codes.max()) + 1)]
    average = np.mean if chosen.average == "mean" else np.median
    profiles = np.stack([average(values[rows], axis=0) for rows in order])
    text = {name: np.array(as_text(table.column(name)).to_pylist(), dtype=object) for name in keys}
    _one_mechanism_each(text[chosen.mechanism], order, text, chosen)
    first = np.array([rows[0] for rows in order])
    words = np.array([" ".join(str(text[name][row]) for name in chosen.treatment) for row in first], dtype=object)
    batches = tuple(frozenset(text[chosen.batch][rows].tolist()) if chosen.batch else frozenset() for rows in order)
    return Treatments(profiles, words, text[chosen.compound][first], text[chosen.mechanism][first], batches), left_out


@dataclass(frozen=True, slots=True, eq=False)
class LeftOut:
    """Accuracy on compounds that neither a transform nor the choice of its setting has seen.

    Attributes:
        right: (n,) by treatment.
        chosen: by compound, which candidate was taken.
        each: not-same-compound accuracy of every candidate, fitted on and judged with all compounds.
    """

    right: NDArray[np.bool_]
    chosen: dict[str, Any]
    each: dict[str, float]

    @property
    def accuracy(self) -> float:
        """Share of treatments that are right."""
        return float(self.right.mean())


def leave_compound_out(
    fit: Callable[[NDArray[np.bool_], Candidate], Floats],
    candidates: Sequence[Candidate],
    mechanisms: ArrayLike,
    compounds: ArrayLike,
    *,
    similarity: Similarity = "correlation",
) -> LeftOut:
    """Choose a transform on all compounds but one, and judge it on that one; again for every compound.

    Args:
        fit: from (n,) the treatments that may be fitted on, and a candidate, to the profiles (n, d) of all treatments.
        candidates: settings to choose among; the first of equals is taken.
        mechanisms: (n,) of the treatments.
        compounds: (n,) of the treatments.
        similarity: of the nearest neighbour.

    Raises:
        RecipeError: fewer than two compounds, or no candidate.
    """
    if not candidates:
        raise RecipeError("no candidate to choose among", remedy="give one or more")
    names, drugs = np.asarray(mechanisms), np.asarray(compounds)
    everything = np.ones(len(names), bool)
    right, taken = np.zeros(len(names), bool), {}
    for compound, rest, own in leave_one_out(drugs.astype(str)):
        seen = everything.copy()
        seen[own] = False
        made = [fit(seen, candidate) for candidate in candidates]
        scores = [
            nearest_neighbour(one[rest], names[rest], drugs[rest], similarity=similarity).accuracy for one in made
        ]
        best = int(np.argmax(scores))
        right[own] = nearest_neighbour(made[best], names, drugs, similarity=similarity).right[own]
        taken[str(compound)] = candidates[best]
    each = {
        str(one): nearest_neighbour(fit(everything, one), names, drugs, similarity=similarity).accuracy
        for one in candidates
    }
    return LeftOut(right, taken, each)


def _figures(found: Neighbours, treatments: Treatments, chosen: MechanismSettings) -> dict[str, Any]:
    asked = found.neighbour >= 0
    told: dict[str, Any] = {
        "accuracy": found.accuracy,
        "asked": int(asked.sum()),
        "answerable_accuracy": found.answerable_accuracy,
        "answerable": int(found.answerable.sum()),
    }
    for name, among in (("interval", asked), ("answerable_interval", found.answerable)):
        if chosen.draws and (interval := _interval(found.right[among], treatments.compounds[among], chosen)):
            told[name] = interval
    return told


def _interval(right: NDArray[np.bool_], compounds: NDArray[Any], chosen: MechanismSettings) -> dict[str, Any] | None:
    """Of the share that is right, over compounds; None where fewer than two have a treatment that counts."""
    drugs = compounds.astype(str)
    if len(np.unique(drugs)) < 2:
        return None
    found = bootstrap(lambda rows: float(right[rows].mean()), drugs, draws=chosen.draws, rng=chosen.seed)
    return {"low": found.low, "high": found.high, "over": "compounds", "level": 0.95}


def _one_mechanism_each(
    mechanism: NDArray[Any], order: Sequence[NDArray[np.intp]], text: dict[str, NDArray[Any]], chosen: MechanismSettings
) -> None:
    for rows in order:
        if len(set(mechanism[rows])) > 1:
            name = " ".join(str(text[key][rows[0]]) for key in chosen.treatment)
            raise RecipeError(f"treatment {name} has two mechanisms", remedy="correct the annotation")
