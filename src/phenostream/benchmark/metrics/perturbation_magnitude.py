"""Magnitude of a perturbation: energy distance of its replicates to controls, against the same of controls (EFAAR)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.distance import cdist

from phenostream.benchmark.metrics import _replicates

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from phenostream.benchmark.metrics._replicates import Replicates

    Floats = NDArray[np.float64]

#: Replicates that a perturbation must have, and controls that are compared with at most.
LEAST, MOST_CONTROLS = 5, 1000


def perturbation_magnitude(
    profiles: ArrayLike,
    groups: ArrayLike,
    controls: ArrayLike,
    *,
    draws: int = 1000,
    rng: np.random.Generator | int = 0,
) -> Replicates:
    """Energy distance between each perturbation's replicates and the controls.

    Celik et al. (2024), PLoS Computational Biology 20:e1012463; at most 1000 controls, drawn. The null is the same of
    control perturbations; a screen with fewer than 20 of them gives that of sets drawn from the controls, as large as
    the perturbations are, to the controls that are left.

    Args:
        profiles: (n, features), finite.
        groups: (n,) perturbation of each, as integers from 0 for those that are judged; of controls, too,
            where they are perturbations, and -1 where they are not.
        controls: (n,) which profiles are controls; they are not judged.
        draws: sets behind a drawn null.
        rng: generator or seed.

    Returns:
        By perturbation; NaN under five replicates.

    Raises:
        WrongShapeError, NotFiniteError, EmptyError: shapes that do not fit, NaN, no control.
    """
    values, code, control = _replicates.checked(profiles, groups, controls)
    generator = np.random.default_rng(rng)
    compared = sample(control, generator)
    judged = np.where(control, -1, code)
    members = np.bincount(judged[judged >= 0], minlength=int(judged.max(initial=-1)) + 1)
    found = np.where(members >= LEAST, distances(values, judged, compared)(np.ones(len(values))), np.nan)
    sets, named = _replicates.control_sets(code, control, members, draws=draws, least=LEAST, rng=generator)
    null = _replicates.over_groups(
        lambda rows: energy_distance(values[rows], values[np.setdiff1d(compared, rows)]), sets
    )
    return _replicates.against(found, null, members, named=named)


def distances(values: Floats, groups: NDArray[np.int64], compared: NDArray[np.intp]) -> Callable[[Floats], Floats]:
    """From weights of the rows (n,) to the energy distance of each group to the rows `compared` (groups,).

    Distances are computed once, so that a bootstrap costs sums only. What a bootstrap draws again is no other row: the
    mean over pairs leaves out those of a row with its copies, and is then scaled to the share that pairs of a row with
    itself have among the rows there are. With weights of 1 that is the energy distance; without, copies would make any
    sample look tighter than it is. A group of fewer than two rows of weight above 0 gives NaN.
    """
    rows = np.flatnonzero(groups >= 0)
    code, size = groups[rows], int(groups.max(initial=-1)) + 1
    cross, among = cdist(values[rows], values[compared]), cdist(values[compared], values[compared])
    count = np.bincount(code, minlength=size)
    members = [np.flatnonzero(groups == one) for one in range(size)]
    first = np.concatenate([np.repeat(one, len(one)) for one in members]) if size else rows
    second = np.concatenate([np.tile(one, len(one)) for one in members]) if size else rows
    apart = np.concatenate([cdist(values[one], values[one]).ravel() for one in members]) if size else np.zeros(0)

    def figure(weights: Floats) -> Floats:
        own, other = np.bincount(code, weights[rows], minlength=size), weights[compared]
        with np.errstate(invalid="ignore", divide="ignore"):
            between = np.bincount(code, weights[rows] * (cross @ other), minlength=size) / (own * other.sum())
            within = np.bincount(groups[first], weights[first] * weights[second] * apart, minlength=size)
            squares = np.bincount(code, weights[rows] ** 2, minlength=size)
            within *= (1 - 1 / count) / (own**2 - squares)
            controls = other @ among @ other / (other.sum() ** 2 - (other**2).sum()) * (1 - 1 / len(other))
            return np.asarray(2 * between - within - controls)

    return figure


def energy_distance(first: ArrayLike, second: ArrayLike) -> float:
    """``2 E|X - Y| - E|X - X'| - E|Y - Y'|`` of two samples (n, features), pairs of a row with itself included.

    Székely and Rizzo (2013), Journal of Statistical Planning and Inference 143:1249. NaN where a sample is empty.
    """
    one, other = np.asarray(first, float), np.asarray(second, float)
    if not len(one) or not len(other):
        return float("nan")
    return float(2 * cdist(one, other).mean() - cdist(one, one).mean() - cdist(other, other).mean())


def sample(control: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.intp]:
    """Rows of at most 1000 controls, sorted."""
    rows = np.flatnonzero(control)
    return rows if len(rows) <= MOST_CONTROLS else np.sort(rng.choice(rows, size=MOST_CONTROLS, replace=False))


class PerturbationMagnitude(_replicates.AgainstControls):
    """The same from batches of profiles."""

    figure = staticmethod(perturbation_magnitude)
