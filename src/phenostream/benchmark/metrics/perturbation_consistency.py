"""Consistency of a perturbation: mean cosine of its replicates, against the same of controls (EFAAR benchmarks)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phenostream.benchmark.metrics import _replicates
from phenostream.errors import NotFiniteError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from phenostream.benchmark.metrics._replicates import Replicates

    Floats = NDArray[np.float64]


def perturbation_consistency(
    profiles: ArrayLike,
    groups: ArrayLike,
    controls: ArrayLike,
    *,
    draws: int = 1000,
    rng: np.random.Generator | int = 0,
) -> Replicates:
    """Mean pairwise cosine of each perturbation's replicates.

    Celik et al. (2024), PLoS Computational Biology 20:e1012463. The null is the same of the control perturbations
    (genes that are not expressed); a screen with fewer than 20 of them gives instead the mean pairwise cosine of sets
    drawn from all control profiles, as large as the perturbations are.

    Args:
        profiles: (n, features), finite, none of length zero.
        groups: (n,) perturbation of each, as integers from 0 for those that are judged; of controls, too,
            where they are perturbations, and -1 where they are not.
        controls: (n,) which profiles are controls; they are not judged.
        draws: sets behind a drawn null.
        rng: generator or seed.

    Returns:
        By perturbation; NaN under two replicates.

    Raises:
        WrongShapeError, NotFiniteError, EmptyError: shapes that do not fit, NaN, no control.
    """
    values, code, control = _replicates.checked(profiles, groups, controls)
    unit = directions(values)
    judged = np.where(control, -1, code)
    found = mean_cosines(unit, judged, np.ones(len(unit)))
    members = np.bincount(judged[judged >= 0], minlength=len(found))
    sets, named = _replicates.control_sets(code, control, members, draws=draws, least=2, rng=np.random.default_rng(rng))
    null = _replicates.over_groups(lambda rows: _mean_cosine(unit[rows]), sets)
    return _replicates.against(found, null, members, named=named)


def mean_cosines(unit: Floats, groups: NDArray[np.int64], weights: Floats) -> Floats:
    """(groups,) mean cosine of the pairs of different rows of each group, every row counted `weights` times.

    A row that counts twice is not paired with itself: what a bootstrap draws again is no replicate. Vectors of length 1
    need no pairs: the sum of all cosines is the squared length of the weighted sum.
    """
    good = groups >= 0
    code, size = groups[good], int(groups.max(initial=-1)) + 1
    total = np.zeros((size, unit.shape[1]))
    np.add.at(total, code, unit[good] * weights[good, None])
    own = np.bincount(code, weights[good] ** 2, minlength=size)
    pairs = np.bincount(code, weights[good], minlength=size) ** 2 - own
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(pairs > 0, ((total**2).sum(axis=1) - own) / pairs, np.nan)


def directions(values: Floats) -> Floats:
    """(n, features) of length 1. Raises NotFiniteError for a row of length 0."""
    length = np.linalg.norm(values, axis=1, keepdims=True)
    if (length == 0).any():
        raise NotFiniteError("a profile has no direction: all its values are 0", remedy="leave it out, counted")
    return np.asarray(values / length)


class PerturbationConsistency(_replicates.AgainstControls):
    """The same from batches of profiles."""

    figure = staticmethod(perturbation_consistency)


def _mean_cosine(unit: Floats) -> float:
    count = len(unit)
    return float(((unit.sum(axis=0) ** 2).sum() - count) / (count * (count - 1)))
