"""Percent replicating, percent matching: groups more alike than chance (Way et al. 2022, Cell Systems 13:911)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from phenostream.benchmark.metrics._gathered import Gathered
from phenostream.errors import RecipeError, WrongShapeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Replicating:
    """How alike the members of each group are.

    Attributes:
        share: groups above `threshold`, of those with a pair; NaN where none has.
        threshold: quantile of the null.
        similarity: (groups,) median correlation of a group's pairs, NaN without a pair.
        null: (draws,) the same of random sets that share no group.
    """

    share: float
    threshold: float
    similarity: Floats
    null: Floats


def percent_replicating(
    profiles: ArrayLike,
    groups: ArrayLike,
    *,
    differ: ArrayLike | None = None,
    draws: int = 1000,
    quantile: float = 0.95,
    rng: np.random.Generator | int = 0,
) -> Replicating:
    """Share of groups whose median pairwise Pearson correlation exceeds a quantile of non-replicate sets.

    A null set has as many members as a group drawn at random, each from another group. With `differ`, members are all
    profiles that share a code: what the wells of one compound have in common is in the null, too.

    Args:
        profiles: (n, features), finite, none constant.
        groups: (n,) perturbation of each profile (percent replicating) or its mechanism (percent matching).
        differ: (n,) codes that two profiles of a pair must not share (the compound, for percent matching).
        draws: null sets.
        quantile: of the null.
        rng: generator or seed.

    Raises:
        WrongShapeError: shapes that do not fit.
        RecipeError: fewer than two groups, or no group with a pair.
    """
    values = _standardised(profiles)
    names, codes = np.unique(np.asarray(groups), return_inverse=True)
    codes = codes.ravel()
    apart = np.arange(len(codes)) if differ is None else np.unique(np.asarray(differ), return_inverse=True)[1].ravel()
    if len(values) != len(codes) or len(values) != len(apart):
        raise WrongShapeError(f"{len(values)} profiles, {len(codes)} groups, {len(apart)} codes")
    if len(names) < 2:
        raise RecipeError("one group has nothing to be compared with", remedy="group by the perturbation")
    members = [_members(codes == one, apart) for one in range(len(names))]
    similarity = np.array([_median(values[np.concatenate(one)], _owners(one)) for one in members])
    sizes = np.array([len(one) for one, near in zip(members, similarity, strict=True) if np.isfinite(near)])
    if not len(sizes):
        raise RecipeError("no group has two profiles to compare", remedy="replicates are needed")
    null = _null(values, members, np.minimum(sizes, len(members)), draws, np.random.default_rng(rng))
    threshold = float(np.quantile(null, quantile))
    defined = similarity[np.isfinite(similarity)]
    return Replicating(float((defined > threshold).mean()), threshold, similarity, null)


class PercentReplicating(Gathered):
    """The same from batches of profiles and their groups."""

    def __init__(self, **settings: Any) -> None:
        """Keep draws, quantile and rng for the end."""
        super().__init__()
        self._settings = settings

    def update(self, profiles: ArrayLike, groups: ArrayLike) -> None:
        """Keep one batch."""
        self.keep(profiles, groups)

    def compute(self) -> Replicating:
        """Of all batches."""
        profiles, groups = self.joined()
        return percent_replicating(profiles, groups, **self._settings)


def _standardised(profiles: ArrayLike) -> Floats:
    values = np.asarray(profiles, float)
    if values.ndim != 2:
        raise WrongShapeError(f"profiles of shape {values.shape}, not (profiles, features)")
    centred = values - values.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    if not np.isfinite(length).all() or (length == 0).any():
        raise WrongShapeError("a profile is constant or not finite", remedy="leave it out, counted")
    return np.asarray(centred / length)


def _members(own: NDArray[np.bool_], apart: NDArray[Any]) -> list[NDArray[np.intp]]:
    """Rows of a group, those that may not be compared with each other together."""
    rows = np.flatnonzero(own)
    order = rows[np.argsort(apart[rows], kind="stable")]
    return np.split(order, np.flatnonzero(np.diff(apart[order])) + 1)


def _owners(members: list[NDArray[np.intp]]) -> NDArray[np.intp]:
    return np.repeat(np.arange(len(members)), [len(rows) for rows in members])


def _median(values: Floats, owners: NDArray[np.intp]) -> float:
    first, second = np.triu_indices(len(values), 1)
    keep = owners[first] != owners[second]
    near = (values @ values.T)[first[keep], second[keep]]
    return float(np.median(near)) if near.size else float("nan")


def _null(
    values: Floats,
    members: list[list[NDArray[np.intp]]],
    sizes: NDArray[np.int64],
    draws: int,
    rng: np.random.Generator,
) -> Floats:
    made = np.empty(draws)
    for draw in range(draws):
        groups = rng.choice(len(members), size=max(2, rng.choice(sizes)), replace=False)
        drawn = [members[one][rng.integers(len(members[one]))] for one in groups]
        made[draw] = _median(values[np.concatenate(drawn)], _owners(drawn))
    return made
