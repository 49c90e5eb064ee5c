"""Cells round nuclei: every pixel joins the nucleus that it reaches by the way with the least change of light."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from phenostream.compiled import kernel
from phenostream.errors import WrongShapeError
from phenostream.objects.labels import checked

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Labels = NDArray[np.int32]


def propagate(
    image: NDArray[Any], seeds: NDArray[Any], inside: NDArray[Any], *, regularization: float = 0.05
) -> Labels:
    """Grow every seed through `inside` until seeds meet, along the ways that cross the least change of light.

    As CellProfiler's Propagation. Jones, Carpenter, Golland (2005), Voronoi-based segmentation of cells on image
    manifolds, LNCS 3765, 535-543: a step to one of the eight neighbours is as long as the square root of the squared
    change of light, summed over the 3 x 3 pixels round both ends, and the squared distance times the squared
    regularization.

    Args:
        image: (Y, X) intensities, as a rule in 0..1.
        seeds: (Y, X) integers, 0 is none. A seed keeps its pixels wherever they lie, and grows from those `inside`.
        inside: (Y, X) bool, the pixels to share out.
        regularization: 0 looks at light only; the larger, the more distance counts.

    Returns:
        (Y, X) int32 with the numbers of `seeds`; 0 outside and where no seed leads.

    Raises:
        WrongShapeError: the three do not have one shape.
    """
    numbers, light = checked(seeds), np.asarray(image, np.float64)
    if not light.shape == numbers.shape == np.shape(inside):
        raise WrongShapeError(
            f"image is {light.shape}, seeds {numbers.shape}, inside {np.shape(inside)}", remedy="one image, one shape"
        )
    labels = np.where(numbers > 0, numbers, 0).astype(np.int32)
    if labels.size:
        _spread(np.pad(light, 1, mode="edge"), np.ascontiguousarray(inside, np.bool_), regularization**2, labels)
    return labels


def fill_holes(labels: NDArray[Any]) -> Labels:
    """`labels` (Y, X) with what lies within one object given to it: background that touches no other, nor the border.

    Background is connected through sides, not corners.
    """
    array = checked(labels)
    filled = np.where(array > 0, array, 0).astype(np.int32)
    holes, count = ndimage.label(np.pad(filled == 0, 1, constant_values=True))
    if count < 2:
        return filled
    around = np.pad(filled, 1)
    least, most = np.full(count + 1, np.iinfo(np.int32).max), np.zeros(count + 1, np.int32)
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:-1], np.s_[1:])):
        for hole, near in ((holes[one], around[other]), (holes[:, one], around[:, other])):
            touching = (hole > 0) & (near > 0)
            np.minimum.at(least, hole[touching], near[touching])
            np.maximum.at(most, hole[touching], near[touching])
    outside = holes[0, 0]
    owner = np.where((least == most) & (np.arange(count + 1) != outside), most, 0).astype(np.int32)
    return np.where(filled > 0, filled, owner[holes[1:-1, 1:-1]]).astype(np.int32)


@kernel
def _spread(light: NDArray[np.float64], inside: NDArray[np.bool_], weight: float, labels: NDArray[np.int32]) -> None:
    """Dijkstra's shortest ways from all seeds at once; `light` has a border of one pixel. Writes into `labels`."""
    height, width = labels.shape
    length = np.where(labels > 0, 0.0, np.inf)
    waiting = [(0.0, 0)]
    waiting.clear()
    for y in range(height):
        for x in range(width):
            if labels[y, x] > 0 and inside[y, x] and _meets_other(labels, y, x):
                heappush(waiting, (0.0, y * width + x))
    while len(waiting) > 0:
        way, p = heappop(waiting)
        y, x = p // width, p % width
        if way > length[y, x]:
            continue
        for v in range(max(0, y - 1), min(height, y + 2)):
            for u in range(max(0, x - 1), min(width, x + 2)):
                if inside[v, u] and length[v, u] > way:
                    change = _change(light, y, x, v, u)
                    whole = way + np.sqrt(change * change + (abs(v - y) + abs(u - x)) * weight)
                    if whole < length[v, u]:
                        length[v, u], labels[v, u] = whole, labels[y, x]
                        heappush(waiting, (whole, v * width + u))


@kernel
def _meets_other(labels: NDArray[np.int32], y: int, x: int) -> bool:
    """Whether one of the eight neighbours has no label."""
    for v in range(max(0, y - 1), min(labels.shape[0], y + 2)):
        for u in range(max(0, x - 1), min(labels.shape[1], x + 2)):
            if labels[v, u] == 0:
                return True
    return False


@kernel
def _change(light: NDArray[np.float64], y: int, x: int, v: int, u: int) -> float:
    """Absolute differences between the 3 x 3 pixels round two places, summed; `light` has a border of one pixel."""
    total = 0.0
    for down in range(3):
        for right in range(3):
            total += abs(light[y + down, x + right] - light[v + down, u + right])
    return total
