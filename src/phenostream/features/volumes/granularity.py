"""Granularity in three dimensions: how much of an object's light lies in grains of each size.

As CellProfiler's MeasureGranularity of volumes: all three axes are reduced alike, the background is an opening with a
ball, and grains are removed by erosion with a voxel and its six straight neighbours, followed by reconstruction
(Vincent, 1993, Morphological grayscale reconstruction in image analysis, IEEE Trans. Image Process. 2(2), 176-201).
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field
from scipy import ndimage
from skimage.morphology import reconstruction

from phenostream.compiled import kernel
from phenostream.features.families import granularity
from phenostream.features.families.granularity import VERSION, columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from phenostream.features.volumes.volume import Volume

    Places = NDArray[np.int32]

__all__ = ["VERSION", "Settings", "columns", "compute"]


class Settings(granularity.Settings):
    """Scales of the spectrum, and where the background comes from."""

    background: Literal["cellprofiler", "whole"] = Field(
        "cellprofiler",
        description="CellProfiler takes a volume to be dark beyond its far sides, and samples it for the background at "
        "`subsample` whatever `background_subsample` is; `whole` estimates the background as in the plane.",
    )


def compute(scene: Volume, settings: Settings) -> NDArray[np.float64]:
    """The spectra (n, channels * length); NaN where the reduced volume has fewer than two voxels along an axis."""
    shape = scene.labels.shape
    small = shape if settings.subsample == 1 else tuple(int(side * settings.subsample) for side in shape)
    if min(small) < 2 or not len(scene):
        return np.full((len(scene), len(scene.channels) * settings.length), np.nan)
    scales = np.array([(a - 1) / (b - 1) for a, b in zip(small, shape, strict=True)])
    blocks = []
    for channel in scene.channels:
        start = np.add.reduceat(scene.values(channel), scene.offsets[:-1]) / scene.areas
        grains = _grains(scene.image(channel), scene.scale(channel), small, settings)
        means = [_means(left, scene.points, scene.offsets, scales) for left in _remains(grains, settings.length)]
        steps = np.diff(np.vstack([start, *means]), axis=0)
        blocks.append((-steps * 100 / np.maximum(start, np.finfo(float).eps)).T)
    return np.hstack(blocks)


def _grains(image: NDArray[Any], scale: float, small: tuple[int, ...], settings: Settings) -> NDArray[np.float64]:
    """The reduced volume without its background, in double precision."""
    # SciPy knows no half precision.
    image = image.astype(np.float32) if image.dtype == np.float16 else image
    reduced = _sampled(image, [np.arange(side) / settings.subsample for side in small]) / scale
    return np.maximum(reduced - _background(reduced, settings), 0)


def _background(reduced: NDArray[np.float64], settings: Settings) -> NDArray[np.float64]:
    factor = settings.background_subsample
    if factor == 1:
        return _opened(reduced, settings.radius)
    sides = [side * factor for side in reduced.shape]
    if settings.background == "whole":
        places = [np.arange(np.ceil(side)) / factor for side in sides]
    else:
        places = [np.arange(side) / settings.subsample for side in reduced.shape]
    back = [np.arange(a) * ((b - 1) / (a - 1)) for a, b in zip(reduced.shape, sides, strict=True)]
    return _sampled(_opened(_sampled(reduced, places), settings.radius), back)


def _sampled(image: NDArray[Any], places: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """`image` at every combination of the `places` along each axis, linear; 0 beyond its border."""
    if all(np.array_equal(place, np.arange(side)) for place, side in zip(places, image.shape, strict=True)):
        return image.astype(np.float64)
    grid = np.meshgrid(*places, indexing="ij")
    return np.asarray(ndimage.map_coordinates(image, grid, order=1, output=np.float64))


def _opened(image: NDArray[np.float64], radius: int) -> NDArray[np.float64]:
    """Grey opening with a ball: the smallest in it and then the largest of those."""
    return -_eroded(-_eroded(image, radius), radius)


def _eroded(image: NDArray[np.float64], radius: int) -> NDArray[np.float64]:
    """Smallest value in the ball round every voxel, within the volume.

    A ball is lines along the last axis, and lines of one length share one running minimum.
    """
    lines: dict[int, list[tuple[int, int]]] = {}
    for dz, dy in product(range(-radius, radius + 1), repeat=2):
        if (rest := radius**2 - dz**2 - dy**2) >= 0:
            lines.setdefault(int(np.sqrt(rest)), []).append((dz, dy))
    out = image.copy()
    for reach, shifts in lines.items():
        size = 2 * min(reach, image.shape[2] - 1) + 1
        lowest = ndimage.minimum_filter1d(image, size, axis=2, mode="nearest")
        for dz, dy in shifts:
            if abs(dz) < image.shape[0] and abs(dy) < image.shape[1]:
                here = out[max(0, -dz) : image.shape[0] - max(0, dz), max(0, -dy) : image.shape[1] - max(0, dy)]
                there = lowest[max(0, dz) : image.shape[0] + min(0, dz), max(0, dy) : image.shape[1] + min(0, dy)]
                np.minimum(here, there, out=here)
    return out


def _remains(grains: NDArray[np.float64], length: int) -> Iterator[NDArray[np.float64]]:
    """What is left of `grains` after each of `length` removals."""
    straight = ndimage.generate_binary_structure(3, 1)
    eroded = grains
    for _ in range(length):
        eroded = _eroded(eroded, 1)
        yield reconstruction(eroded, grains, footprint=straight)  # type: ignore[no-untyped-call]


@kernel
def _means(
    values: NDArray[np.float64],
    points: tuple[Places, Places, Places],
    offsets: NDArray[np.int64],
    scales: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(n,): each object's mean of the reduced volume `values`, were that brought back to full size, linearly."""
    planes, rows, cols = points
    depth, height, width = values.shape
    out = np.zeros(offsets.size - 1)
    for i in range(out.size):
        total = 0.0
        for k in range(offsets[i], offsets[i + 1]):
            z, y, x = planes[k] * scales[0], rows[k] * scales[1], cols[k] * scales[2]
            # Rounding may put the last voxels just beyond the reduced volume, which then counts as dark there.
            if z > depth - 1 or y > height - 1 or x > width - 1:
                continue
            w, v, u = int(z), int(y), int(x)
            deep, down, right = z - w, y - v, x - u
            for corner in range(8):
                a, b, c = corner >> 2, corner >> 1 & 1, corner & 1
                share = (deep if a else 1 - deep) * (down if b else 1 - down) * (right if c else 1 - right)
                total += share * values[min(w + a, depth - 1), min(v + b, height - 1), min(u + c, width - 1)]
        out[i] = total / (offsets[i + 1] - offsets[i])
    return out
