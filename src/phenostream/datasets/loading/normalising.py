"""Normalisation from the index: no pixel is read for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from phenostream.datasets.loading.units import choose, joint_codes
from phenostream.errors import EmptyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow.compute as pc
    from numpy.typing import ArrayLike, NDArray

    from phenostream.datasets.packs import Pack


@dataclass(frozen=True, slots=True, eq=False)
class Normalisation:
    """What to subtract from each channel of each site, and what to divide it by.

    Attributes:
        mean: (sites of the pack, C) grey levels.
        std: (sites of the pack, C) grey levels, never 0.
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]


def normalisation(
    pack: Pack,
    by: Literal["site", "pack"] | Sequence[str] = "site",
    *,
    sites: ArrayLike | pc.Expression | None = None,
) -> Normalisation:
    """Mean and population standard deviation of each site's pixels, or of those of its plate, experiment or pack.

    Per site is the robust choice for screens, whose brightness differs several-fold between experiments.

    Args:
        pack: packed sites.
        by: ``site``; ``pack``: all alike; or columns whose equal values make a group, such as ``("experiment",)``.
        sites: whose pixels count, such as training sites or controls; not for ``site``.

    Raises:
        EmptyError: a group without any site that counts.
        RecipeError: no such column.
    """
    mean, std, told = _statistics(pack)
    if by != "site":
        counted = np.zeros(len(pack), bool)
        counted[choose(pack, sites)] = True
        groups = joint_codes(pack.table, () if by == "pack" else by)
        mean, std = _pooled(mean, std, groups, counted & told)
    return Normalisation(mean, np.where(std > 0, std, 1.0))


def _statistics(pack: Pack) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Mean and std (N, C) of every site, and whether they are known: those at fault stand as zeros."""
    told = pack.table["pixel_mean"].combine_chunks().is_valid().to_numpy(zero_copy_only=False)
    found = []
    for name in ("pixel_mean", "pixel_std"):
        values = np.zeros((len(pack), len(pack.channels)))
        lists: Any = pack.table[name].combine_chunks().drop_null()
        values[told] = lists.flatten().to_numpy(zero_copy_only=False).reshape(-1, len(pack.channels))
        found.append(values)
    return found[0], found[1], told


def _pooled(
    mean: NDArray[np.float64], std: NDArray[np.float64], groups: NDArray[np.int64], counted: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of all pixels of a group, which are equally many in every site, for each member (N, C)."""
    number = groups.max() + 1
    count = np.bincount(groups[counted], minlength=number)
    if not count[groups].all():
        raise EmptyError("a group has no site that counts", remedy="choose more sites, or larger groups")
    total, squares = np.zeros((number, mean.shape[1])), np.zeros((number, mean.shape[1]))
    np.add.at(total, groups[counted], mean[counted])
    np.add.at(squares, groups[counted], std[counted] ** 2 + mean[counted] ** 2)
    middle = total / np.maximum(count, 1)[:, None]
    variance = squares / np.maximum(count, 1)[:, None] - middle**2
    return middle[groups], np.sqrt(np.maximum(variance, 0))[groups]
