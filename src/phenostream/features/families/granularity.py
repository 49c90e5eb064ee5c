"""Granularity: how much of an object's light lies in grains of each size.

As CellProfiler's MeasureGranularity: the image is reduced, its background (an opening with a disk) taken away, and
grains are removed size by size, by erosion followed by reconstruction. Vincent (2000), Granulometries and Opening
Trees, Fundamenta Informaticae 41, 57-90.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from phenostream.compiled import kernel
from phenostream.features.reconstruction import Flow
from phenostream.values import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from phenostream.features.scene import Scene

VERSION = 1
SPREADS = True


class Settings(BaseModel):
    """Scales of the spectrum; the defaults are those of the published pipeline."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subsample: float = Field(0.25, gt=0, le=1, description="Factor by which the image is reduced first.")
    background_subsample: float = Field(
        0.25, gt=0, le=1, description="Factor by which the reduced image is reduced again to estimate its background."
    )
    radius: int = Field(10, ge=1, description="Radius of the background's disk, in pixels of the twice reduced image.")
    length: int = Field(16, ge=1, description="Number of sizes in the spectrum.")


def columns(settings: Settings, channels: Sequence[str]) -> list[Column]:
    """``Granularity_i_<channel>``, in percent of the object's mean intensity."""
    return [
        Column(f"Granularity_{i}_{channel}", family="Granularity", channel=channel, unit="%")
        for channel in channels
        for i in range(1, settings.length + 1)
    ]


def compute(scene: Scene, settings: Settings) -> NDArray[np.float64]:
    """The spectra (n, channels * length); NaN where the reduced image has fewer than two rows or columns."""
    shape = scene.labels.shape
    small = shape if settings.subsample == 1 else tuple(int(side * settings.subsample) for side in shape)
    if min(small) < 2:
        return np.full((len(scene), len(scene.channels) * settings.length), np.nan)
    scales = np.array([(a - 1) / (b - 1) for a, b in zip(small, shape, strict=True)])
    shares = _shares(*scene.places, scene.offsets, scene.boxes, scales, np.array(small))
    blocks = []
    for channel in scene.channels:
        grains = _grains(scene.image(channel), scene.scale(channel), small, settings)
        start = np.add.reduceat(scene.values(channel), scene.offsets[:-1]) / scene.areas if len(scene) else np.zeros(0)
        means = _means(scene, grains, shares, settings.length)
        steps = np.diff(np.vstack([start, means]), axis=0)
        blocks.append((-steps * 100 / np.maximum(start, np.finfo(float).eps)).T)
    return np.hstack(blocks)


def _means(
    scene: Scene,
    grains: NDArray[np.float64],
    shares: tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]],
    length: int,
) -> NDArray[np.float64]:
    """(length, n): what `_spectrum` says of all removals, as many at the same time as the scene has threads."""
    borders = np.linspace(0, length, min(scene.threads, length) + 1).astype(int)

    def some(first: int, last: int) -> NDArray[np.float64]:
        return _spectrum(grains, shares, scene.areas, first, last)

    return np.vstack(scene.spread(some, borders))


def _grains(image: NDArray[Any], scale: float, small: tuple[int, ...], settings: Settings) -> NDArray[np.float64]:
    """The reduced image without its background; in single precision where `image` is."""
    kind = np.dtype(np.float32 if image.dtype == np.float32 else np.float64)
    # Where the reduced pixels are pixels of the image, they alone need scaling, before or after makes no difference.
    before, after = (1.0, scale) if (1 / settings.subsample).is_integer() else (scale, 1.0)
    source = image if before == 1 else image.astype(kind) / kind.type(before)
    reduced = _resample(source, [np.arange(side) / settings.subsample for side in small], kind) / kind.type(after)
    factor = settings.background_subsample
    if factor == 1:
        background = _opened(reduced, settings.radius)
    else:
        sides = [side * factor for side in small]
        lower = _resample(reduced, [np.arange(np.ceil(side)) / factor for side in sides], kind)
        back = [np.arange(a) * ((b - 1) / (a - 1)) for a, b in zip(small, sides, strict=True)]
        background = _resample(_opened(lower, settings.radius), back, kind)
    return np.maximum(reduced - background.astype(kind), 0).astype(np.float64) + 0.0


def _resample(image: NDArray[Any], places: Sequence[NDArray[np.floating[Any]]], kind: np.dtype[Any]) -> NDArray[Any]:
    """`image` at every combination of row and column in `places`, bilinear, as `kind`; 0 beyond its border."""
    rows, cols = places
    out: NDArray[Any] = np.empty((rows.size, cols.size), kind)
    _bilinear(image, rows, cols, out)
    return out


@kernel
def _bilinear(
    image: NDArray[Any], rows: NDArray[np.floating[Any]], cols: NDArray[np.floating[Any]], out: NDArray[Any]
) -> None:
    """What SciPy's ``map_coordinates`` gives, to the last bit, without a table of all places."""
    height, width = image.shape
    for i in range(rows.size):
        y = int(rows[i])
        upper = 1 - (rows[i] - y)
        lower = 1 - upper
        near, far = image[min(y, height - 1)], image[min(y + 1, height - 1)]
        for j in range(cols.size):
            x = int(cols[j])
            left = 1 - (cols[j] - x)
            right = 1 - left
            beside = min(x + 1, width - 1)
            if rows[i] > height - 1 or cols[j] > width - 1:
                out[i, j] = 0.0
            else:
                above = near[x] * upper * left + near[beside] * upper * right
                out[i, j] = above + far[x] * lower * left + far[beside] * lower * right


def _opened(image: NDArray[Any], radius: int) -> NDArray[np.float64]:
    """Grey opening with a disk: the smallest in it and then the largest of those."""
    image = image.astype(np.float64)
    return -_eroded(-_eroded(image, radius), radius)


@kernel
def _eroded(image: NDArray[np.float64], radius: int) -> NDArray[np.float64]:
    """Smallest value in the disk round every pixel, within the image."""
    height, width = image.shape
    out = image.copy()
    for dy in range(-radius, radius + 1):
        reach = int(np.sqrt(float(radius * radius - dy * dy)))
        for y in range(max(0, -dy), min(height, height - dy)):
            for x in range(width):
                low = out[y, x]
                for u in range(max(0, x - reach), min(width, x + reach + 1)):
                    low = min(low, image[y + dy, u])
                out[y, x] = low
    return out


def _spectrum(
    image: NDArray[np.float64],
    shares: tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]],
    areas: NDArray[np.int64],
    first: int,
    last: int,
) -> NDArray[np.float64]:
    """(last - first, n): each object's mean in the image that is left after removals `first` to `last` - 1."""
    means = np.empty((last - first, areas.size))
    flow = Flow(image.shape)
    eroded, spare = image.copy(), np.empty_like(image)
    # What is left of an image is what is left of it, after any smaller removal, in turn.
    before, left = image, np.empty_like(image)
    for step in range(last):
        _shrink(eroded, spare)
        eroded, spare = spare, eroded
        if step >= first:
            np.copyto(left, eroded)
            flow.raise_to(left, before)
            _weigh(left.ravel(), *shares, areas, means[step - first])
            before, left = left, np.empty_like(image) if before is image else before
    return means


@kernel
def _weigh(
    values: NDArray[np.float64],
    cells: NDArray[np.int64],
    weights: NDArray[np.float64],
    borders: NDArray[np.int64],
    areas: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    """Each object's mean of `values`, by the weights that `_shares` gives."""
    for i in range(areas.size):
        total = 0.0
        for k in range(borders[i], borders[i + 1]):
            total += weights[k] * values[cells[k]]
        out[i] = total / areas[i]


@kernel
def _shrink(image: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Erosion with the cross of a pixel and its straight neighbours."""
    height, width = image.shape
    for y in range(height):
        for x in range(width):
            low = image[y, x]
            if y > 0:
                low = min(low, image[y - 1, x])
            if y < height - 1:
                low = min(low, image[y + 1, x])
            if x > 0:
                low = min(low, image[y, x - 1])
            if x < width - 1:
                low = min(low, image[y, x + 1])
            out[y, x] = low


@kernel
def _shares(
    rows: NDArray[np.int32],
    cols: NDArray[np.int32],
    offsets: NDArray[np.int64],
    boxes: NDArray[np.int64],
    scales: NDArray[np.float64],
    shape: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """How much every pixel of the reduced image counts in each object, were it brought back to full size.

    Bilinear weights summed over the object's pixels: cells and weights, object by object, and the n + 1 borders.
    """
    n = boxes.shape[0]
    room = 0
    for i in range(n):
        tall = int((boxes[i, 2] - boxes[i, 0]) * scales[0]) + 3
        room += tall * (int((boxes[i, 3] - boxes[i, 1]) * scales[1]) + 3)
    cells, weights = np.empty(room, np.int64), np.empty(room)
    borders = np.zeros(n + 1, np.int64)
    count = 0
    for i in range(n):
        top, left = int(boxes[i, 0] * scales[0]), int(boxes[i, 1] * scales[1])
        tall = int((boxes[i, 2] - boxes[i, 0]) * scales[0]) + 3
        wide = int((boxes[i, 3] - boxes[i, 1]) * scales[1]) + 3
        patch = np.zeros((tall, wide))
        for k in range(offsets[i], offsets[i + 1]):
            y, x = rows[k] * scales[0], cols[k] * scales[1]
            # Rounding may put the last row or column just beyond the reduced image, which then counts as dark there.
            if y <= shape[0] - 1 and x <= shape[1] - 1:
                v, u = int(y), int(x)
                down, right = y - v, x - u
                patch[v - top, u - left] += (1 - down) * (1 - right)
                patch[v - top, u - left + 1] += (1 - down) * right
                patch[v - top + 1, u - left] += down * (1 - right)
                patch[v - top + 1, u - left + 1] += down * right
        for v in range(tall):
            for u in range(wide):
                if patch[v, u] > 0:
                    cells[count] = min(top + v, shape[0] - 1) * shape[1] + min(left + u, shape[1] - 1)
                    weights[count] = patch[v, u]
                    count += 1
        borders[i + 1] = count
    return cells[:count], weights[:count], borders
