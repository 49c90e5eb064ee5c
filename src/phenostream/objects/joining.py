"""Joining fragments that belong to one object: a linear rule on what is known of every pair of neighbours.

Pairs are joined best first, in rounds; sums over pixels and over borders are additive, so that a joined pair is
described without looking at pixels again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Indices = NDArray[np.int64]
    Image = NDArray[np.float32]
    Labels = NDArray[np.int32]
    Judge = Callable[["Pairs"], NDArray[np.float64]]

_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Rule:
    """A logistic rule: a pair is joined where ``constant + weights @ features`` exceeds `least`.

    Attributes:
        constant: log odds where all features are 0.
        weights: one a feature, in the order of :data:`FEATURES`.
        least: log odds; over 0 splits more, under 0 joins more.
    """

    constant: float
    weights: tuple[float, ...]
    least: float = 0.0

    def __call__(self, pairs: Pairs) -> Floats:
        """How far each pair is over the threshold."""
        return np.asarray(pairs.features() @ np.asarray(self.weights) + (self.constant - self.least))


#: What is known of a pair, all of it relative: to the fainter or the brighter of the two, or to the typical diameter.
FEATURES = (
    "mean brightness of the border over that of the fainter fragment",
    "brightest point of the border over the lower of the two crests",
    "area of both over that of the ellipse with their moments",
    "what joining gains in that",
    "logarithm of the area of both over that of a disc of the typical diameter",
    "square root of the smaller area over the larger",
    "deepest point of the border over the deeper of the two",
    "mean less greatest brightness of the border, over the higher crest",
    "brightest point of the border over the higher crest",
)

#: Learnt on hand-segmented fluorescent nuclei (BBBC038) by benchmarks/segmentation.py --learn.
RULE = Rule(1.379, (-0.868, 1.873, -7.384, 25.623, -1.559, -2.066, 1.339, 5.259, 7.946), -0.28)


@dataclass(frozen=True, slots=True, eq=False)
class Fragments:
    """What is known of every fragment, by number.

    Attributes:
        sums: (N + 1, 7), over its pixels: of 1, y, x, yy, xx, xy and brightness.
        crests: (N + 1, 2), its greatest smooth brightness and depth.
    """

    sums: Floats
    crests: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Fragments that touch.

    Attributes:
        one: (P,), the lower numbers.
        other: (P,), the higher numbers.
        border: (P, 4): length, sum and greatest of smooth brightness, greatest depth.
        fragments: what is known of each.
        size: typical diameter in pixels.
    """

    one: Indices
    other: Indices
    border: Floats
    fragments: Fragments
    size: float

    def features(self) -> Floats:
        """The features (P, 9) of every pair, in the order of :data:`FEATURES`."""
        sums, crests = self.fragments.sums, self.fragments.crests
        one, other = sums[self.one], sums[self.other]
        fit = _roundness(one + other)
        area = one[:, 0] + other[:, 0]
        apart = (one[:, 0] * _roundness(one) + other[:, 0] * _roundness(other)) / area
        mean = self.border[:, 1] / self.border[:, 0]
        fainter = np.minimum(one[:, 6] / one[:, 0], other[:, 6] / other[:, 0])
        low = np.minimum(crests[self.one], crests[self.other]) + _TINY
        high = np.maximum(crests[self.one], crests[self.other]) + _TINY
        columns = (
            mean / np.maximum(fainter, _TINY),
            self.border[:, 2] / low[:, 0],
            fit,
            fit - apart,
            np.log(area / (np.pi / 4 * self.size**2)),
            np.sqrt(np.minimum(one[:, 0], other[:, 0]) / np.maximum(one[:, 0], other[:, 0])),
            self.border[:, 3] / high[:, 1],
            (mean - self.border[:, 2]) / high[:, 0],
            self.border[:, 2] / high[:, 0],
        )
        return np.stack(columns, axis=1)


def join(fragments: Labels, bright: Image, smooth: Image, depth: Image, size: float, *, rule: Judge = RULE) -> Labels:
    """Join neighbouring fragments.

    Args:
        fragments: (Y, X), 1 to N.
        bright: (Y, X), intensity over the background.
        smooth: (Y, X), the same, smoothed.
        depth: (Y, X), distance to the background in pixels.
        size: typical diameter in pixels.
        rule: judges pairs; a positive number joins, the greatest first.

    Returns:
        (Y, X) int32 with some of the numbers of `fragments`.
    """
    count = int(fragments.max(initial=0))
    known = _describe(fragments, bright, smooth, depth, count)
    key, border = _borders(fragments, smooth, depth, count)
    root = np.arange(count + 1)
    while key.size:
        pairs = Pairs(*np.divmod(key, count + 1), border, known, size)
        chosen = _best(pairs, rule(pairs), count)
        if not chosen.size:
            break
        keep, give = pairs.one[chosen], pairs.other[chosen]
        target = np.arange(count + 1)
        target[give] = keep
        root = target[root]
        known.sums[keep] += known.sums[give]
        known.crests[keep] = np.maximum(known.crests[keep], known.crests[give])
        key, border = _rekeyed(pairs, target, count)
    return root.astype(np.int32)[fragments]


def _describe(labels: Labels, bright: Image, smooth: Image, depth: Image, count: int) -> Fragments:
    place = np.flatnonzero(labels)
    owner = labels.ravel()[place]
    y, x = np.divmod(place, labels.shape[1])
    terms = (None, y, x, y * y, x * x, y * x, bright.ravel()[place])
    sums = np.stack([np.bincount(owner, term, minlength=count + 1) for term in terms], axis=1).astype(np.float64)
    crests = np.zeros((count + 1, 2))
    np.maximum.at(crests[:, 0], owner, smooth.ravel()[place])
    np.maximum.at(crests[:, 1], owner, depth.ravel()[place])
    return Fragments(sums, crests)


def _borders(labels: Labels, smooth: Image, depth: Image, count: int) -> tuple[Indices, Floats]:
    """Keys ``one * (count + 1) + other`` of neighbours (4-connected), and their borders as in `Pairs`."""
    found = []
    for here, there in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        a, b = labels[here], labels[there]
        meet = np.nonzero((a != b) & (a > 0) & (b > 0))
        low, high = np.minimum(a[meet], b[meet]).astype(np.int64), np.maximum(a[meet], b[meet])
        light = np.minimum(smooth[here][meet], smooth[there][meet])
        deep = np.minimum(depth[here][meet], depth[there][meet])
        found.append(np.stack([low * (count + 1) + high, np.ones(low.size), light, light, deep], axis=1))
    rows = np.concatenate(found).astype(np.float64)
    return _grouped(rows[:, 0].astype(np.int64), rows[:, 1:])


def _rekeyed(pairs: Pairs, target: Indices, count: int) -> tuple[Indices, Floats]:
    one, other = target[pairs.one], target[pairs.other]
    apart = one != other
    one, other = one[apart], other[apart]
    return _grouped(np.minimum(one, other) * (count + 1) + np.maximum(one, other), pairs.border[apart])


def _grouped(key: Indices, border: Floats) -> tuple[Indices, Floats]:
    """Borders of equal keys as one: length and sum added, the greatest kept."""
    order = np.argsort(key, kind="stable")
    key, border = key[order], border[order]
    first = np.flatnonzero(np.diff(key, prepend=-1))
    if not first.size:
        return key, border
    added = np.add.reduceat(border[:, :2], first, axis=0)
    return key[first], np.concatenate([added, np.maximum.reduceat(border[:, 2:], first, axis=0)], axis=1)


def _best(pairs: Pairs, score: Floats, count: int) -> Indices:
    """Pairs over 0 that neither of the two would rather leave for another: they can be joined at once."""
    best = np.full(count + 1, -1)
    for fragment in (pairs.one, pairs.other):
        order = np.lexsort((-np.arange(score.size), score))  # of equals the first
        best = _leader(best, fragment[order], order, score)
    index = np.arange(score.size)
    return np.flatnonzero((score > 0) & (best[pairs.one] == index) & (best[pairs.other] == index))


def _leader(best: Indices, fragment: Indices, index: Indices, score: Floats) -> Indices:
    found = np.full(best.size, -1)
    found[fragment] = index  # in ascending order of score: the last write is the best
    better = (found >= 0) & ((best < 0) | (score[found] > score[best]))
    return np.where(better, found, best)


def _roundness(sums: Floats) -> Floats:
    """Area over the area of the ellipse of equal second moments: 1 for an ellipse, less for anything notched."""
    area = sums[:, 0]
    y, x = sums[:, 1] / area, sums[:, 2] / area
    yy, xx = sums[:, 3] / area - y * y + 1 / 12, sums[:, 4] / area - x * x + 1 / 12
    xy = sums[:, 5] / area - y * x
    return np.asarray(area / (4 * np.pi * np.sqrt(np.maximum(yy * xx - xy * xy, 1e-6))))
