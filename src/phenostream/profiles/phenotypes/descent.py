"""Coordinate descent for one class of a multinomial logistic regression, compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phenostream.compiled import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# ruff: noqa: PLR0913, PLR0917  (compiled code takes plain arrays and numbers)

#: Least curvature of a cell, where its class is all but certain.
_FLAT = 1e-6
#: Odds that count as none.
_LEAST = 1e-290
#: A pass that gains this share of the first one's steps ends the passes.
_SETTLED = 1e-3


@kernel
def chances(decisions: Floats, number: int, found: Floats) -> None:
    """Write the probabilities of class `number` (2, n), and of all others, from the decision values (classes, n).

    The second is no difference from one: it stays above zero where the first is one.
    """
    for cell in range(decisions.shape[1]):
        odds = _LEAST
        for other in range(decisions.shape[0]):
            if other != number:
                odds += np.exp(min(decisions[other, cell] - decisions[number, cell], 690.0))
        found[0, cell] = 1.0 / (1.0 + odds)
        found[1, cell] = odds / (1.0 + odds)


@kernel
def product(one: Floats, other: Floats) -> float:
    """Of two vectors; four sums at a time, which a processor does at once."""
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    whole = one.shape[0] - one.shape[0] % 4
    for place in range(0, whole, 4):
        a += one[place] * other[place]
        b += one[place + 1] * other[place + 1]
        c += one[place + 2] * other[place + 2]
        d += one[place + 3] * other[place + 3]
    for place in range(whole, one.shape[0]):
        a += one[place] * other[place]
    return (a + b) + (c + d)


@kernel
def sweep(
    features: Floats, active: NDArray[np.int64], curve: Floats, bend: Floats, wrong: Floats, moved: Floats,
    weights: Floats, lasso: float, ridge: float,
) -> float:  # fmt: skip
    """One pass over the intercept (last) and the active weights of a quadratic model; the largest gain of a step.

    Args:
        features: (features + 1, n), ones last.
        active: which weights move.
        curve: (n,) curvature of each cell.
        bend: (features + 1,) curvature of each weight.
        wrong: (n,) what is still unexplained; updated.
        moved: (n,) change of the decision values; updated.
        weights: (features + 1,); updated.
        lasso: absolute penalty, none on the intercept.
        ridge: squared penalty, none on the intercept.
    """
    largest, last = 0.0, features.shape[0] - 1
    for step in range(active.shape[0] + 1):
        place = last if step == active.shape[0] else active[step]
        held = 0.0 if place == last else ridge
        slope = product(features[place], wrong) + bend[place] * weights[place]
        if place != last:
            slope = max(abs(slope) - lasso, 0.0) * np.sign(slope)
        change = slope / (bend[place] + held) - weights[place]
        if change != 0.0:
            weights[place] += change
            largest = max(largest, (bend[place] + held) * change * change)
            row = features[place]
            for cell in range(row.shape[0]):
                way = row[cell] * change
                moved[cell] += way
                wrong[cell] -= curve[cell] * way
    return largest


@kernel
def gain(
    share: float, old: Floats, new: Floats, chance: Floats, moved: Floats, truth: Floats, weight: Floats,
    lasso: float, ridge: float,
) -> float:  # fmt: skip
    """How much the objective falls when `share` of the way from `old` to `new` weights is gone."""
    lost = 0.0
    for cell in range(moved.shape[0]):
        # The logarithm of p exp(a) + 1 - p, where neither exponential can overflow.
        away = share * moved[cell]
        up, down = max(away, 0.0), min(away, 0.0)
        grown = up + np.log(chance[0, cell] * np.exp(down) + chance[1, cell] * np.exp(-up))
        lost += weight[cell] * (grown - truth[cell] * away)
    for place in range(old.shape[0] - 1):
        if old[place] != 0.0 or new[place] != 0.0:
            value = old[place] + share * (new[place] - old[place])
            lost += lasso * (abs(value) - abs(old[place])) + 0.5 * ridge * (value * value - old[place] * old[place])
    return -lost


@kernel
def improve(
    features: Floats, active: NDArray[np.int64], decisions: Floats, number: int, truth: Floats, weight: Floats,
    weights: Floats, lasso: float, ridge: float, sweeps: int,
) -> None:  # fmt: skip
    """Better weights of one class, the others held: a Newton step by coordinate descent, shortened where it harms.

    Args:
        features: (features + 1, n), ones last.
        active: which weights move.
        decisions: (classes, n) decision values; those of the class are updated.
        number: of the class.
        truth: (n,) 1 for its cells, 0 for others.
        weight: (n,) of the cells.
        weights: (features + 1,) of the class, intercept last; updated.
        lasso: absolute penalty.
        ridge: squared penalty.
        sweeps: most passes over the weights.
    """
    count = features.shape[1]
    chance, wrong, curve, moved = np.empty((2, count)), np.empty(count), np.empty(count), np.zeros(count)
    chances(decisions, number, chance)
    for cell in range(count):
        wrong[cell] = weight[cell] * (truth[cell] - chance[0, cell])
        curve[cell] = weight[cell] * max(chance[0, cell] * chance[1, cell], _FLAT)
    bend = np.zeros(features.shape[0])
    for step in range(active.shape[0] + 1):
        place = features.shape[0] - 1 if step == active.shape[0] else active[step]
        row = features[place]
        for cell in range(count):
            bend[place] += curve[cell] * row[cell] * row[cell]
    old = weights.copy()
    first = 0.0
    for _ in range(sweeps):
        largest = sweep(features, active, curve, bend, wrong, moved, weights, lasso, ridge)
        first = max(first, largest)
        if largest <= _SETTLED * first:
            break
    share = 1.0
    while share > 1e-6 and gain(share, old, weights, chance, moved, truth, weight, lasso, ridge) < 0:
        share /= 2
    for place in range(weights.shape[0]):
        weights[place] = old[place] + share * (weights[place] - old[place])
    for cell in range(count):
        decisions[number, cell] += share * moved[cell]
