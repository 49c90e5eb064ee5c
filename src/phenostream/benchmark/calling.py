"""Accuracy of a classifier of sites: by site and by well, by cell type, and apart from that with what layouts tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from phenostream.benchmark.metrics.accuracy import accuracy, found_within
from phenostream.benchmark.metrics.plate_layout import assigned, plate_groups, restricted
from phenostream.benchmark.statistics import bootstrap
from phenostream.errors import EmptyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int64]
    Told = dict[str, Any]

_GENERALISES = "images alone: holds for any layout"
_LAYOUT = "layout-informed, not generalisation"


@dataclass(frozen=True, slots=True)
class Rows:
    """Sites or wells with what is known of them.

    Attributes:
        label: (n,) true class; -1 for one that was not learnt.
        batch: (n,) experiment.
        plate: (n,).
        well: (n,) name of the well, plate included.
        kind: (n,) cell type; all empty where the table tells none.
        logs: (n, classes) log probabilities.
    """

    label: Codes
    batch: NDArray[np.str_]
    plate: NDArray[np.str_]
    well: NDArray[np.str_]
    kind: NDArray[np.str_]
    logs: Floats

    def by_well(self) -> Rows:
        """The wells, with the mean of their sites' log probabilities."""
        _, first, code = np.unique(self.well, return_index=True, return_inverse=True)
        return Rows(
            self.label[first], self.batch[first], self.plate[first], self.well[first], self.kind[first],
            means(self.logs, code.ravel(), len(first)),
        )  # fmt: skip

    def take(self, rows: NDArray[Any]) -> Rows:
        """Some of them."""
        return Rows(*(getattr(self, name)[rows] for name in Rows.__slots__))


@dataclass(frozen=True, slots=True)
class Layout:
    """What the plates that were learnt from tell of the design.

    Attributes:
        groups: (classes,) group of classes that share plates.
        capacity: wells that a class has in an experiment at most.
        known: whether there was such a plate at all.
    """

    groups: Codes
    capacity: int
    known: bool


def layout_of(seen: Rows, classes: int) -> Layout:
    """Groups and capacity from the wells that were learnt from; none where there are none."""
    if not len(seen.label):
        return Layout(np.full(classes, -1), 1, known=False)
    wells = seen.by_well()
    good = wells.label >= 0
    _, counts = np.unique(np.stack([wells.label[good], _codes(wells.batch[good])]), axis=1, return_counts=True)
    return Layout(plate_groups(wells.label, wells.plate, classes=classes), int(counts.max(initial=1)), known=True)


def calls(judged: Rows, layout: Layout, *, draws: int, seed: int) -> Told:
    """All accuracies of a classifier, with intervals by experiment.

    Args:
        judged: sites of experiments that were not learnt from.
        layout: of those that were.
        draws: bootstrap samples; 0: no intervals.
        seed: of these.

    Raises:
        EmptyError: no site has a class that was learnt.
    """
    if not (judged.label >= 0).any():
        raise EmptyError(
            "no site to be judged has a class that was learnt",
            remedy="is the column of the perturbation the right one?",
        )
    wells = judged.by_well()
    told: Told = {
        "site": _shares(judged, judged.logs, draws, seed),
        "well": _shares(wells, wells.logs, draws, seed),
        "basis": _GENERALISES,
        "by_cell_type": {
            kind: {
                "site": _shares(judged.take(judged.kind == kind), judged.logs[judged.kind == kind], draws, seed),
                "well": _shares(wells.take(wells.kind == kind), wells.logs[wells.kind == kind], draws, seed),
            }
            for kind in np.unique(judged.kind[judged.kind != ""]).tolist()
        },
    }
    return {**told, "layout_informed": _informed(wells, layout, draws, seed)}


def interval(figure: Callable[[NDArray[np.intp]], float], batches: NDArray[Any], *, draws: int, seed: int) -> Told:
    """A figure with its 95 % interval by experiment; without one where there are not two, or none is wanted."""
    if not draws or len(np.unique(batches)) < 2:
        return {"value": _plain(figure(np.arange(len(batches)))), "low": None, "high": None}
    found = bootstrap(figure, batches, draws=draws, rng=seed)
    return {"value": _plain(found.value), "low": _plain(found.low), "high": _plain(found.high)}


def centroid_logs(values: Floats, label: Codes, batch: NDArray[Any], fit: NDArray[np.bool_], classes: int) -> Floats:
    """Scores (n, classes) of the nearest class centroid: minus the squared distance, -inf for a class without one.

    The centroid of a class is the mean of its rows among `fit` that are not of the row's own batch.
    """
    out = np.full((len(values), classes), -np.inf)
    for one in np.unique(batch):
        rows, learnt = batch == one, fit & (batch != one) & (label >= 0)
        if not learnt.any():
            continue
        centroids = means(values[learnt], label[learnt], classes)
        there = np.isin(np.arange(classes), label[learnt])
        away = ((values[rows][:, None] - centroids[None, there]) ** 2).sum(axis=2)
        out[np.ix_(rows, there)] = -away
    return out


def means(values: Floats, code: NDArray[Any], size: int) -> Floats:
    """(size, ...) mean of the rows of each code; zeros for one without rows."""
    total = np.zeros((size, values.shape[1]))
    np.add.at(total, code, values)
    return np.asarray(total / np.maximum(np.bincount(code, minlength=size), 1)[:, None])


def _informed(wells: Rows, layout: Layout, draws: int, seed: int) -> Told:
    """With what the layout of the screen tells; each trick on its own, and both."""
    found: dict[str, Floats] = {}
    if layout.known and layout.groups.max(initial=-1) > 0:
        found["plate_groups"] = restricted(wells.logs, wells.plate, wells.batch, layout.groups)
    if _assignable(wells, layout):
        found["assignment"] = assigned(wells.logs, wells.batch, capacity=layout.capacity)
        if "plate_groups" in found:
            found["plate_groups_and_assignment"] = assigned(
                found["plate_groups"], wells.batch, capacity=layout.capacity
            )
    told: Told = {name: _top1(wells, scores, draws, seed) for name, scores in found.items()}
    return {**told, "basis": _LAYOUT, "groups": int(layout.groups.max(initial=-1)) + 1, "capacity": layout.capacity}


def _assignable(wells: Rows, layout: Layout) -> bool:
    """Whether classes are scarce: no experiment has more wells than there are places."""
    _, counts = np.unique(wells.batch, return_counts=True)
    return bool(layout.known and counts.max(initial=0) <= layout.capacity * wells.logs.shape[1])


def _shares(rows: Rows, logs: Floats, draws: int, seed: int) -> Told:
    found = accuracy(logs, rows.label)
    first, five = found_within(logs, rows.label), found_within(logs, rows.label, 5)
    return {
        "top1": interval(lambda at: float(first[at].mean()), rows.batch, draws=draws, seed=seed),
        "top5": interval(lambda at: float(five[at].mean()), rows.batch, draws=draws, seed=seed),
        "balanced": interval(lambda at: _balanced(first[at], rows.label[at]), rows.batch, draws=draws, seed=seed),
        "count": found.count,
    }


def _balanced(first: Floats, label: Codes) -> float:
    _, code = np.unique(label, return_inverse=True)
    return float((np.bincount(code, first) / np.bincount(code)).mean())


def _top1(rows: Rows, scores: Floats, draws: int, seed: int) -> Told:
    first = found_within(scores, rows.label)
    return interval(lambda at: float(first[at].mean()), rows.batch, draws=draws, seed=seed)


def _codes(values: NDArray[Any]) -> Codes:
    return np.unique(values, return_inverse=True)[1].ravel()


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
