"""A watershed that knows by itself how many basins there are: neighbours part only where the saddle is deep enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from phenostream.compiled import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEVELS = 65535  # what energies are rounded to: sorting by radix is several times faster


def basins(energy: NDArray[np.float32], inside: NDArray[np.bool_], depth: float) -> NDArray[np.int32]:
    """Cut `inside` into the catchments of the maxima of `energy`.

    Pixels are visited from the highest energy down. Where two catchments meet, the lower of their peaks is compared
    with the saddle: less than `depth` above it, the two are one (persistence of maxima: Edelsbrunner, Letscher and
    Zomorodian 2002, doi:10.1007/s00454-002-2885-2). Pixels touch with their corners, too.

    Args:
        energy: (Y, X), 0 to 1.
        inside: (Y, X), the pixels to share out.
        depth: 0 to 1; 0 keeps every maximum.

    Returns:
        (Y, X) int32: 0 outside; numbers are positive, with gaps.
    """
    level = np.pad(np.rint(np.clip(energy, 0, 1) * _LEVELS).astype(np.uint16), 1)
    place = np.flatnonzero(np.pad(inside, 1))
    order = place[np.argsort(_LEVELS - level.ravel()[place], kind="stable")]
    labels = np.zeros(level.size, np.int32)
    _flood(order, level.ravel(), _neighbours(level.shape[1]), int(np.ceil(depth * _LEVELS)), labels)
    return np.ascontiguousarray(labels.reshape(level.shape)[1:-1, 1:-1])


def _neighbours(width: int) -> NDArray[np.int64]:
    return np.array([-width, -1, 1, width, -width - 1, -width + 1, width - 1, width + 1])


@kernel
def _root(parent: NDArray[np.int32], label: Any) -> Any:
    while parent[label] != label:
        parent[label] = parent[parent[label]]
        label = parent[label]
    return label


@kernel
def _flood(
    order: NDArray[np.int64], level: NDArray[np.uint16], near: NDArray[np.int64], depth: int, labels: NDArray[np.int32]
) -> None:
    parent = np.zeros(order.size + 1, np.int32)
    peak = np.zeros(order.size + 1, np.int32)
    count = 0
    for pixel in order:
        here, mine, best = np.int32(level[pixel]), np.int32(0), np.int32(-1)
        for step in near:  # it belongs to the highest neighbour
            if labels[pixel + step] > 0 and level[pixel + step] > best:
                mine, best = np.int32(labels[pixel + step]), np.int32(level[pixel + step])
        mine = np.int32(_root(parent, mine))
        for step in near:
            other = _root(parent, labels[pixel + step])
            if other != 0 and other != mine and min(peak[mine], peak[other]) - here < depth:  # noqa: PLR1714  (numba)
                # The lower number has the higher peak: peaks are numbered on the way down.
                first, second = min(mine, other), max(mine, other)
                parent[second] = first
                mine = first
        if mine == 0:
            count += 1
            mine = np.int32(count)
            parent[count], peak[count] = count, here
        labels[pixel] = mine
    for pixel in order:
        labels[pixel] = _root(parent, labels[pixel])
