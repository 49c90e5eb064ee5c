"""What the layout of a screen tells of its labels: groups that always share a plate, and treatments used once.

Calls that use this are no sign of how well images are understood; they are told apart from all others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import optimize, sparse

from phenostream.benchmark.metrics._gathered import Gathered
from phenostream.errors import WrongShapeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

# Below any log probability that is told apart from another, and still a number, which an assignment needs.
_NEVER = -1e6


def plate_groups(labels: ArrayLike, plates: ArrayLike, *, classes: int) -> NDArray[np.int64]:
    """(classes,) number of the group of classes that share plates; -1 for a class on no plate.

    Two classes are of one group where some plate has both, or a chain of plates leads from one to the other.

    Args:
        labels: (n,) class number of each well; -1 for none.
        plates: (n,) plate of each well.
        classes: how many there are.
    """
    label = np.asarray(labels)
    names, plate = np.unique(np.asarray(plates), return_inverse=True)
    good = label >= 0
    edges = (np.ones(int(good.sum())), (label[good], classes + plate.ravel()[good]))
    size = classes + len(names)
    _, found = sparse.csgraph.connected_components(sparse.coo_array(edges, shape=(size, size)), directed=False)
    there = np.isin(np.arange(classes), label)
    groups = np.full(classes, -1, np.int64)
    groups[there] = np.unique(found[:classes][there], return_inverse=True)[1]
    return groups


def restricted(logs: ArrayLike, plates: ArrayLike, batches: ArrayLike, groups: ArrayLike) -> Floats:
    """Log probabilities with every class ruled out (-inf) that is not of the group its plate most likely holds.

    The plates of a batch are matched with the groups one to one so that the total log probability of their wells lying
    in them is highest; where a batch has more plates than there are groups, each plate takes its best.

    Args:
        logs: (n, classes) log probabilities of wells.
        plates: (n,) plate of each.
        batches: (n,) experiment of each.
        groups: (classes,) as of `plate_groups`; classes of none (-1) are never ruled out.

    Raises:
        WrongShapeError: shapes that do not fit.
    """
    values, kind = np.asarray(logs, float), np.asarray(groups)
    plate, batch = np.asarray(plates), np.asarray(batches)
    if values.ndim != 2 or kind.shape != values.shape[1:] or not len(values) == len(plate) == len(batch):
        raise WrongShapeError(f"logs {values.shape}, {len(plate)} plates, {len(batch)} batches, {kind.shape} groups")
    out = values.copy()
    count = int(kind.max(initial=-1)) + 1
    for one in np.unique(batch) if count else []:
        rows = np.flatnonzero(batch == one)
        for name, group in _matched(values[rows], plate[rows], kind, count).items():
            out[np.ix_(rows[plate[rows] == name], (kind >= 0) & (kind != group))] = -np.inf
    return out


def assigned(logs: ArrayLike, batches: ArrayLike, *, capacity: int = 1) -> Floats:
    """Scores (n, classes) in which the wells of a batch share the classes out: 1 for the one that each gets, else 0.

    A linear sum assignment of highest total log probability, each class at most `capacity` times a batch.

    Args:
        logs: (n, classes) log probabilities of wells; -inf rules a class out.
        batches: (n,) experiment of each.
        capacity: wells of one class in a batch.

    Raises:
        WrongShapeError: shapes that do not fit, or more wells in a batch than classes times `capacity`.
    """
    values, batch = np.asarray(logs, float), np.asarray(batches)
    if values.ndim != 2 or batch.shape != (len(values),):
        raise WrongShapeError(f"log probabilities {values.shape} for {batch.shape} batches")
    out = np.zeros(values.shape)
    for one in np.unique(batch):
        rows = np.flatnonzero(batch == one)
        if len(rows) > capacity * values.shape[1]:
            raise WrongShapeError(
                f"batch {one}: {len(rows)} wells share {values.shape[1]} classes, {capacity} wells each",
                remedy="raise the capacity: a treatment occurs more often",
            )
        gain = np.tile(np.maximum(values[rows], _NEVER), (1, capacity))
        wells, places = optimize.linear_sum_assignment(gain, maximize=True)
        out[rows[wells], places % values.shape[1]] = 1.0
    return out


class Assigned(Gathered):
    """`assigned` calls from batches of wells."""

    def __init__(self, *, capacity: int = 1) -> None:
        """Keep the capacity."""
        super().__init__()
        self.capacity = capacity

    def update(self, logs: ArrayLike, batches: ArrayLike) -> None:
        """Keep some wells."""
        self.keep(logs, batches)

    def compute(self) -> Floats:
        """Of all wells."""
        return assigned(*self.joined(), capacity=self.capacity)


def _matched(logs: Floats, plates: NDArray[Any], kind: NDArray[Any], count: int) -> dict[Any, int]:
    """The group of each plate of one batch."""
    names, code = np.unique(plates, return_inverse=True)
    with np.errstate(divide="ignore"):
        inside = np.stack([_log_sum(logs[:, kind == group]) for group in range(count)], axis=1)
    total = np.zeros((len(names), count))
    np.add.at(total, code.ravel(), np.maximum(inside, _NEVER))
    if len(names) > count:
        return dict(zip(names.tolist(), total.argmax(axis=1).tolist(), strict=True))
    rows, groups = optimize.linear_sum_assignment(total, maximize=True)
    return {names[row].item(): int(group) for row, group in zip(rows, groups, strict=True)}


def _log_sum(logs: Floats) -> Floats:
    top = np.maximum(logs.max(axis=1, keepdims=True), _NEVER)
    return np.asarray(np.log(np.exp(logs - top).sum(axis=1)) + top[:, 0])
