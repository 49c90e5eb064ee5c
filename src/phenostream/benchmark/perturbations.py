"""Embeddings of a screen: are replicates of other experiments found, consistent, far from controls; are relations?"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from phenostream.benchmark.calling import interval
from phenostream.benchmark.metrics.average_precision import Partners, average_precision, mean_average_precision
from phenostream.benchmark.metrics.nearest_neighbour import nearest_neighbour
from phenostream.benchmark.metrics.perturbation_consistency import directions, mean_cosines, perturbation_consistency
from phenostream.benchmark.metrics.perturbation_magnitude import LEAST, distances, perturbation_magnitude, sample
from phenostream.benchmark.metrics.relationship_recall import relationship_recall
from phenostream.benchmark.statistics import benjamini_hochberg
from phenostream.errors import PhenostreamError
from phenostream.profiles.operating import operate
from phenostream.values import Column, with_columns

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from phenostream.benchmark.metrics._replicates import Replicates

    Floats = NDArray[np.float64]
    Told = dict[str, Any]

# A map is made anew in each bootstrap sample: fewer of them are affordable.
MAP_DRAWS = 100


@dataclass(frozen=True, slots=True)
class Wells:
    """Wells of experiments that were not learnt from.

    Attributes:
        label: (n,) number of the perturbation; -1 for controls.
        batch: (n,) number of the experiment.
        control: (n,) which are negative controls.
        entity: (n,) name under which relations know the perturbation; empty for controls.
        control_of: (n,) number of the perturbation that a negative control has, such as a gene that is not expressed;
            -1 where it has none, and for all others.
    """

    label: NDArray[np.int64]
    batch: NDArray[np.int64]
    control: NDArray[np.bool_]
    entity: NDArray[np.str_]
    control_of: NDArray[np.int64]

    def take(self, rows: NDArray[Any]) -> Wells:
        """Some of them."""
        return Wells(*(getattr(self, name)[rows] for name in Wells.__slots__))


@dataclass(frozen=True, slots=True)
class How:
    """How figures are made sure of.

    Attributes:
        draws: bootstrap samples; 0: no intervals.
        null: sets or rankings behind a null distribution.
        seed: of both.
        relations: annotated pairs, None where there are none.
        maps: bootstrap samples at most of what needs a map of all perturbations.
    """

    draws: int
    null: int
    seed: int
    relations: list[tuple[str, str]] | None = None
    maps: int = MAP_DRAWS


def embedding_scores(values: Floats, wells: Wells, how: How) -> Told:
    """Every score of one embedding, each with its interval by experiment, or with the reason why there is none.

    Args:
        values: (n, features) of wells, centred: cosines are taken from the origin.
        wells: what they are.
        how: draws and seeds.
    """
    good = np.isfinite(values).all(axis=1) & (np.linalg.norm(values, axis=1) > 1e-9)
    values, wells = values[good], wells.take(good)
    scores: dict[str, Callable[[Floats, Wells, How], Told]] = {
        "retrieval": _retrieval, "other_batch_neighbour": _neighbour, "activity": _activity,
        "consistency": _consistency, "magnitude": _magnitude,
    }  # fmt: skip
    if how.relations is not None:
        scores["relationship_recall"] = _recall
    return {"wells_without_direction": int((~good).sum())} | {
        name: _or_reason(score, values, wells, how) for name, score in scores.items()
    }


def standardised(values: Floats) -> Floats:
    """Each feature with mean 0 and standard deviation 1 over all rows; features without spread are left out."""
    spread = values.std(axis=0)
    keep = spread > 1e-9 * np.maximum(np.abs(values).max(axis=0, initial=0), 1e-300)
    return np.asarray((values[:, keep] - values[:, keep].mean(axis=0)) / spread[keep])


def typical_variation(
    values: Floats, batch: NDArray[Any], control: NDArray[np.bool_], *, align: str = "whiten"
) -> Floats:
    """`values` after `profiles.operations.tvn`, fitted on the controls of each batch. Raises as that does."""
    keep = np.ptp(values[control], axis=0) > 0 if control.any() else np.zeros(values.shape[1], bool)
    names = [f"f{place}" for place in range(int(keep.sum()))]
    columns: dict[str, Any] = {"batch": pa.array(batch), "control": pa.array(np.where(control, "yes", "no"))}
    columns |= {name: pa.array(column) for name, column in zip(names, values[:, keep].T, strict=True)}
    told = [Column("batch", "metadata"), Column("control", "metadata"), *(Column(name) for name in names)]
    table = with_columns(pa.table(columns), told)
    done = operate(table, "tvn", by=("batch",), controls={"control": "yes"}, align=align).table()
    made = [name for name in done.column_names if name not in columns]
    return np.stack([done[name].to_numpy() for name in made], axis=1)


def _or_reason(score: Callable[[Floats, Wells, How], Told], values: Floats, wells: Wells, how: How) -> Told:
    try:
        return score(values, wells, how)
    except PhenostreamError as error:
        return {"value": None, "reason": error.message}


def _retrieval(values: Floats, wells: Wells, how: How) -> Told:
    """Mean average precision: replicates of other experiments among all wells of other experiments."""
    treated = wells.label >= 0
    positives = Partners((wells.label,), (wells.batch,), treated)
    negatives = Partners((), (wells.label, wells.batch), treated)
    found = average_precision(values, positives, negatives, queries=treated)
    asked = np.isfinite(found.value)
    label, precision = wells.label[asked], found.value[asked]
    told = interval(lambda at: _by_group(precision[at], label[at]), wells.batch[asked], draws=how.draws, seed=how.seed)
    return {**told, "wells": int(asked.sum())}


def _neighbour(values: Floats, wells: Wells, how: How) -> Told:
    """Share of wells whose nearest well of another experiment has their perturbation (NSB)."""
    treated = wells.label >= 0
    batch, label = wells.batch[treated], wells.label[treated]
    found = nearest_neighbour(values[treated], label, batch, similarity="cosine")
    asked = found.neighbour >= 0
    right = found.right[asked].astype(float)
    return {
        **interval(lambda at: _mean(right[at]), batch[asked], draws=how.draws, seed=how.seed),
        "same_batch": _mixing(values[treated], batch, how),
    }


def _mixing(values: Floats, batch: NDArray[np.int64], how: How) -> Told:
    """How often the nearest well of all is of the same experiment, and how often it were by chance."""
    found = nearest_neighbour(values, batch, np.arange(len(batch)), similarity="cosine")
    sizes = np.bincount(batch)
    chance = float((sizes * (sizes - 1)).sum() / max(len(batch) * (len(batch) - 1), 1))
    asked = found.neighbour >= 0
    right = found.right[asked].astype(float)
    return {**interval(lambda at: _mean(right[at]), batch[asked], draws=how.draws, seed=how.seed), "chance": chance}


def _activity(values: Floats, wells: Wells, how: How) -> Told:
    """Mean average precision of replicates of other experiments against the negative controls of the own."""
    treated = wells.label >= 0
    positives = Partners((wells.label,), (wells.batch,), treated)
    found = average_precision(values, positives, Partners((wells.batch,), (), wells.control), queries=treated)
    asked = np.isfinite(found.value)
    label, precision = wells.label[asked], found.value[asked]
    means = mean_average_precision(
        found, np.where(treated, wells.label, -1), null_size=max(how.null, 100), seed=how.seed
    )
    p_value = benjamini_hochberg(means.p_value[np.isfinite(means.p_value)])
    told = interval(lambda at: _by_group(precision[at], label[at]), wells.batch[asked], draws=how.draws, seed=how.seed)
    active = (p_value < 0.05).astype(float)
    share = interval(lambda at: _mean(active[at]), np.arange(len(active)), draws=how.draws, seed=how.seed)
    return {**told, "active_share": share, "perturbations": len(p_value)}


def _consistency(values: Floats, wells: Wells, how: How) -> Told:
    judged, seed = np.where(wells.control, -1, wells.label), how.seed
    rows = wells.control | (judged >= 0)
    code = np.where(wells.control, wells.control_of, judged)[rows]
    found = perturbation_consistency(values[rows], code, wells.control[rows], draws=how.null, rng=seed)
    unit = directions(values)
    return _told(found, lambda at: mean_cosines(unit, judged, _weights(at, len(unit))), wells, how)


def _magnitude(values: Floats, wells: Wells, how: How) -> Told:
    judged, seed = np.where(wells.control, -1, wells.label), how.seed
    rows = wells.control | (judged >= 0)
    code = np.where(wells.control, wells.control_of, judged)[rows]
    found = perturbation_magnitude(values[rows], code, wells.control[rows], draws=how.null, rng=seed)
    enough = np.flatnonzero(found.members >= LEAST)
    if not len(enough):
        return {"value": None, "reason": f"no perturbation has {LEAST} replicates"}
    kept = np.where(np.isin(judged, enough), judged, -1)
    distance = distances(values, kept, sample(wells.control, np.random.default_rng(seed)))
    return _told(found, lambda at: distance(_weights(at, len(values))), wells, how)


def _recall(values: Floats, wells: Wells, how: How) -> Told:
    """Relations among the aggregated perturbations; a random map has 0.1 and 0.2."""
    rows = wells.entity != ""
    values, entity, batch = values[rows], wells.entity[rows], wells.batch[rows]
    relations = how.relations or []

    def recalled(at: NDArray[np.intp]) -> dict[str, float]:
        names, code = np.unique(entity[at], return_inverse=True)
        total = np.zeros((len(names), values.shape[1]))
        np.add.at(total, code.ravel(), values[at])
        told = relationship_recall(total / np.bincount(code.ravel())[:, None], names.tolist(), relations)
        return {f"{low}_{high}": share for (low, high), share in told.recall.items()} | {"pairs": told.pairs}

    def drawn(at: NDArray[np.intp], name: str) -> float:
        try:
            return recalled(at)[name]
        except PhenostreamError:
            # A draw of few experiments has few perturbations, and perhaps no pair of them.
            return float("nan")

    whole = recalled(np.arange(len(values)))
    draws = min(how.draws, how.maps)
    return {"pairs": whole.pop("pairs")} | {
        f"recall_{ends}": interval(partial(drawn, name=ends), batch, draws=draws, seed=how.seed) for ends in whole
    }


def _told(found: Replicates, figures: Callable[[NDArray[np.intp]], Floats], wells: Wells, how: How) -> Told:
    """Mean of the perturbations' figures, and share beyond the null, which a bootstrap leaves as it is."""
    known: dict[bytes, Floats] = {}

    def drawn(at: NDArray[np.intp]) -> Floats:
        # Both intervals are of the same draws.
        key = hashlib.sha256(at.tobytes()).digest()
        if key not in known:
            known[key] = figures(at)
        return known[key]

    told = interval(lambda at: _mean(drawn(at)), wells.batch, draws=how.draws, seed=how.seed)
    share = interval(lambda at: found.share_of(drawn(at)), wells.batch, draws=how.draws, seed=how.seed)
    null = found.null
    return {
        **told,
        "null": float(null.mean()) if len(null) else None,
        "null_of": "control perturbations" if found.named else "drawn control wells",
        "null_sets": len(null),
        "significant_share": share,
        "perturbations": int(np.isfinite(found.value).sum()),
    }


def _by_group(values: Floats, code: NDArray[np.int64]) -> float:
    """Mean over the groups of the means of their values."""
    count = np.bincount(code)
    return _mean(np.bincount(code, values)[count > 0] / count[count > 0])


def _mean(values: Floats) -> float:
    good = values[np.isfinite(values)]
    return float(good.mean()) if len(good) else float("nan")


def _weights(at: NDArray[np.intp], size: int) -> Floats:
    return np.bincount(at, minlength=size).astype(float)
