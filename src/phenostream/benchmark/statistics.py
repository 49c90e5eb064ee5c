"""How sure a figure is: bootstrap by group, permutation, false discovery rate, leave one group out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from phenostream.errors import NotFiniteError, RecipeError, WrongShapeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import ArrayLike, NDArray

    Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and its percentile interval.

    Attributes:
        value: on all rows.
        low: lower end.
        high: upper end.
        groups: groups that were drawn from.
        draws: bootstrap samples on which the figure is a number.
    """

    value: float
    low: float
    high: float
    groups: int
    draws: int


def bootstrap(
    figure: Callable[[Indices], float],
    groups: ArrayLike,
    *,
    draws: int = 1000,
    level: float = 0.95,
    rng: np.random.Generator | int = 0,
) -> Interval:
    """Percentile interval of `figure` when whole groups are drawn with replacement (cluster bootstrap).

    Cells of one image or well are no independent witnesses; drawing cells would make intervals too narrow. Method:
    Efron and Tibshirani (1993), section 13.3; Field and Welsh (2007) for groups.

    Args:
        figure: from row indices (n,), some of them repeated, to one number; NaN where a draw does not define it.
        groups: (rows,) group of each row; ``numpy.arange(rows)`` gives the ordinary bootstrap.
        draws: bootstrap samples.
        level: share of samples inside the interval.
        rng: generator or seed.

    Raises:
        RecipeError: fewer than two groups, or a level outside 0..1.
    """
    if not 0 < level < 1:
        raise RecipeError(f"a level of {level} is no share", remedy="say 0.95")
    _, codes = np.unique(np.asarray(groups), return_inverse=True)
    members = _members(codes.ravel())
    if len(members) < 2:
        raise RecipeError("an interval needs two groups or more", remedy="group by something that differs")
    generator = np.random.default_rng(rng)
    found = np.array([
        figure(np.concatenate([members[one] for one in generator.integers(len(members), size=len(members))]))
        for _ in range(draws)
    ])  # fmt: skip
    good = found[np.isfinite(found)]
    ends = np.quantile(good, [(1 - level) / 2, (1 + level) / 2]) if len(good) else (np.nan, np.nan)
    return Interval(float(figure(np.arange(len(codes)))), float(ends[0]), float(ends[1]), len(members), len(good))


def permutation_p_value(observed: ArrayLike, null: ArrayLike) -> NDArray[np.float64]:
    """``(values of the null >= observed + 1) / (size of the null + 1)``: never zero (Phipson and Smyth 2010).

    Args:
        observed: any shape; NaN gives NaN.
        null: (size,) figures under the null hypothesis.

    Raises:
        WrongShapeError: an empty null, or one that is not one-dimensional.
        NotFiniteError: NaN in the null.
    """
    seen, drawn = np.asarray(observed, float), np.sort(np.asarray(null, float))
    if drawn.ndim != 1 or not drawn.size:
        raise WrongShapeError(f"a null distribution of shape {drawn.shape}", remedy="give (size,) figures")
    if np.isnan(drawn[-1]):
        raise NotFiniteError("NaN in the null distribution", remedy="draw it from what is defined")
    above = drawn.size - np.searchsorted(drawn, seen, side="left")
    return np.where(np.isnan(seen), np.nan, (above + 1) / (drawn.size + 1))


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p-values that control the false discovery rate (Benjamini and Hochberg 1995).

    Args:
        p_values: (n,) in 0..1; NaN (a test that was not done) stays NaN and does not count.

    Raises:
        WrongShapeError: not one-dimensional.
        RecipeError: a value outside 0..1.
    """
    given = np.asarray(p_values, float)
    if given.ndim != 1:
        raise WrongShapeError(f"p-values of shape {given.shape}", remedy="give (n,)")
    done = ~np.isnan(given)
    if ((given[done] < 0) | (given[done] > 1)).any():
        raise RecipeError("a p-value outside 0..1", remedy="are these p-values?")
    adjusted = np.full(given.shape, np.nan)
    if done.any():
        adjusted[done] = stats.false_discovery_control(given[done], method="bh")
    return adjusted


def leave_one_out(groups: ArrayLike) -> Iterator[tuple[Any, Indices, Indices]]:
    """For every group, sorted: its name, the rows (indices) of all others, and its own rows.

    Raises:
        RecipeError: fewer than two groups.
    """
    names, codes = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        raise RecipeError("leaving one group out needs two or more", remedy="group by something that differs")
    for number, name in enumerate(names):
        own = codes.ravel() == number
        yield name, np.flatnonzero(~own), np.flatnonzero(own)


def permuted_within(values: ArrayLike, groups: ArrayLike, *, rng: np.random.Generator | int = 0) -> NDArray[Any]:
    """`values` (n, ...) shuffled among the rows of the same group: what differs between groups stays."""
    generator = np.random.default_rng(rng)
    shuffled = np.array(values, copy=True)
    _, codes = np.unique(np.asarray(groups), return_inverse=True)
    for rows in _members(codes.ravel()):
        shuffled[rows] = shuffled[generator.permutation(rows)]
    return shuffled


def exchanged_blocks(groups: ArrayLike, count: int, *, rng: np.random.Generator | int = 0) -> Iterator[Indices]:
    """`count` times the row (rows,) whose value each row takes when groups exchange their values as wholes.

    Whole-block permutation: what rows of a group have in common stays together, so that a null distribution is as wide
    as few independent groups make it, and not as narrow as many rows would (Winkler et al. 2015, NeuroImage 123:253;
    blocks of one size). Here a group of n rows takes n values of the other one in their order, from a random start, and
    goes on with the first after the last. Exact where each group holds one value, and where every row is a group of its
    own (the ordinary permutation); otherwise as far as it does not matter where in its group a row stands.

    Args:
        groups: (rows,) group of each row; groups must be exchangeable under the null hypothesis.
        count: permutations.
        rng: generator or seed.
    """
    generator = np.random.default_rng(rng)
    _, codes, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    order = np.argsort(codes.ravel(), kind="stable")
    first = np.cumsum(sizes) - sizes
    own = np.repeat(np.arange(len(sizes)), sizes)
    place = np.arange(len(order)) - first[own]
    rows = np.empty(len(order), np.intp)
    for _ in range(count):
        other = generator.permutation(len(sizes))
        start = generator.integers(sizes[other])
        rows[order] = order[first[other][own] + (start[own] + place) % sizes[other][own]]
        yield rows.copy()


def _members(codes: NDArray[Any]) -> list[Indices]:
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
