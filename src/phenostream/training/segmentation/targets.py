"""From instance masks to the maps that the network learns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONTACT = 0.12  # width of the contact map, in typical diameters
MAPS = ("foreground", "depth", "contact")
HEAVIEST = 4.0  # weight of the smallest objects


def targets(labels: NDArray[np.int32], diameter: float) -> NDArray[np.float32]:
    """The three maps of `labels` (Y, X), each 0 to 1.

    1. Foreground: 1 in objects.
    2. Depth: distance to the object's border over the largest in that object; the border of the image is none.
    3. Contact: exp(-((a + b) / width)^2) of the distances a and b to the two nearest objects (0 within one), where
       `width` is 0.12 typical diameters: the weight map of Ronneberger et al. 2015 (doi:10.1007/978-3-319-24574-4_28).

    Args:
        labels: (Y, X); 0 is background.
        diameter: typical diameter of the objects in pixels.

    Returns:
        (3, Y, X) float32.
    """
    width = CONTACT * diameter
    reach = math.ceil(3 * width) + 1
    depth = np.zeros(labels.shape, np.float32)
    near, next_near = (np.full(labels.shape, np.inf, np.float32) for _ in range(2))
    for label, box in enumerate(ndimage.find_objects(labels), 1):
        if box is None:
            continue
        window = _grown(box, reach, labels.shape)
        inside = labels[window] == label
        depth[window][inside] = _depth(inside)[inside]
        gap = _gap(inside)
        one, two = near[window], next_near[window]
        two[...] = np.minimum(two, np.maximum(one, gap))
        one[...] = np.minimum(one, gap)
    both = near + next_near
    contact = np.where(np.isfinite(both), np.exp(-((both / width) ** 2)), 0)
    return np.stack([labels > 0, depth, contact]).astype(np.float32)


def weights(labels: NDArray[np.int32]) -> NDArray[np.float32]:
    """How much each pixel (Y, X) of `labels` counts: more in small objects, for they count as objects like others.

    The square root of the median area over the object's own, 1 to 4; 1 in the background.
    """
    area = np.bincount(labels.ravel()).astype(np.float64)
    area[0] = 0
    if not area.any():
        return np.ones(labels.shape, np.float32)
    each = np.sqrt(np.median(area[area > 0]) / np.maximum(area, 1)).clip(1, HEAVIEST)
    each[0] = 1
    return each.astype(np.float32)[labels]


def _grown(box: tuple[slice, ...], reach: int, shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(
        slice(max(0, side.start - reach), min(length, side.stop + reach))
        for side, length in zip(box, shape, strict=True)
    )


def _depth(inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Distance to the edge of pixels, half a pixel before the next pixel's centre, over the largest."""
    if inside.all():
        return np.ones(inside.shape, np.float32)
    distance = ndimage.distance_transform_edt(inside) - 0.5
    return np.asarray(distance / distance.max(), np.float32)


def _gap(inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    if inside.all():
        return np.zeros(inside.shape, np.float32)
    return np.where(inside, 0, ndimage.distance_transform_edt(~inside) - 0.5).astype(np.float32)
