"""A watershed that knows by itself how many basins there are: neighbours part only where the saddle is deep enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from phenostream.compiled import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEVELS = 65535  # what energies are rounded to: sorting is counting then
_MANY = 1 << 31  # pixels whose places do not fit 32 bits


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
    shape = energy.shape[0] + 2, energy.shape[1] + 2
    level = np.zeros(shape, np.uint16)
    for row, into in zip(energy, level[1:-1, 1:-1], strict=True):
        into[...] = np.rint(np.clip(row, 0, 1) * _LEVELS)
    order = _downward(level, inside, np.zeros(np.count_nonzero(inside), np.int32 if level.size < _MANY else np.int64))
    labels = np.zeros(level.size, np.int32)
    _flood(order, level.ravel(), _neighbours(shape[1]), int(np.ceil(depth * _LEVELS)), labels)
    return np.ascontiguousarray(labels.reshape(shape)[1:-1, 1:-1])


def _neighbours(width: int) -> NDArray[np.int64]:
    return np.array([-width, -1, 1, width, -width - 1, -width + 1, width - 1, width + 1])


@kernel
def _downward(
    level: NDArray[np.uint16], inside: NDArray[np.bool_], order: NDArray[np.integer[Any]]
) -> NDArray[np.integer[Any]]:
    """Fill `order` with the places of pixels `inside` in `level`, which has a rim, from the highest down.

    Equals stand as in the image.
    """
    start = np.zeros(_LEVELS + 2, np.int64)
    rows, columns = inside.shape
    for y in range(rows):
        for x in range(columns):
            if inside[y, x]:
                start[_LEVELS - level[y + 1, x + 1] + 1] += 1
    for one in range(_LEVELS):
        start[one + 1] += start[one]
    for y in range(rows):
        for x in range(columns):
            if inside[y, x]:
                below = _LEVELS - level[y + 1, x + 1]
                order[start[below]] = (y + 1) * (columns + 2) + x + 1
                start[below] += 1
    return order


@kernel
def _root(parent: NDArray[np.int32], label: Any) -> Any:
    while parent[label] != label:
        parent[label] = parent[parent[label]]
        label = parent[label]
    return label


@kernel
def _flood(
    order: NDArray[np.integer[Any]],
    level: NDArray[np.uint16],
    near: NDArray[np.int64],
    depth: int,
    labels: NDArray[np.int32],
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
