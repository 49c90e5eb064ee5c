"""Coarser and finer grids: block means, and the smooth background that lies under everything wide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.float32]


def shrink(image: Image, factor: int) -> Image:
    """Means over blocks of `factor` x `factor` pixels; blocks over the edge repeat the last row and column."""
    if factor == 1:
        return image
    height, width = image.shape
    whole = np.pad(image, ((0, -height % factor), (0, -width % factor)), mode="edge")
    parts = (whole[row::factor, column::factor] for row in range(factor) for column in range(factor))
    return np.asarray(sum(parts, np.float32(0)) / np.float32(factor * factor), np.float32)


def repeat(values: NDArray[Any], factor: int, shape: tuple[int, ...]) -> NDArray[Any]:
    """Every value as a block of `factor` x `factor` pixels, cut to `shape`: the way back for labels."""
    if factor == 1:
        return values
    return np.repeat(np.repeat(values, factor, axis=0), factor, axis=1)[: shape[0], : shape[1]]


def stretch(values: Image, factor: int, shape: tuple[int, ...]) -> Image:
    """Bilinear interpolation between the centres of blocks, cut to `shape`: the way back for intensities."""
    if factor == 1:
        return values
    low, high, part = _between(values.shape[1], factor, shape[1])
    wide = values[:, low] * (1 - part) + values[:, high] * part
    low, high, part = _between(values.shape[0], factor, shape[0])
    return np.asarray(wide[low] * (1 - part)[:, None] + wide[high] * part[:, None], np.float32)


def background(image: Image, width: float) -> Image:
    """Grey opening by a square `width` pixels wide, smoothed by as much: keeps what is wider than that.

    Found on a grid of about ten steps a `width`, which costs next to nothing and sees no single dark pixel.
    """
    factor = max(1, int(width / 10))
    side = max(3, round(width / factor) | 1)
    low = ndimage.minimum_filter(shrink(image, factor), side, mode="nearest")
    opened = ndimage.maximum_filter(low, side, mode="nearest")
    return stretch(ndimage.uniform_filter(opened, side, mode="nearest"), factor, image.shape)


def _between(count: int, factor: int, size: int) -> tuple[NDArray[Any], NDArray[Any], Image]:
    place = np.clip((np.arange(size) + 0.5) / factor - 0.5, 0, count - 1)
    low = np.minimum(place.astype(np.int64), max(count - 2, 0))
    return low, np.minimum(low + 1, count - 1), (place - low).astype(np.float32)
