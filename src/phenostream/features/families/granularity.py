"""Granularity: how much of an object's light lies in grains of each size.

As CellProfiler's MeasureGranularity: the image is reduced, its background (an opening with a disk) taken away, and
grains are removed size by size, by erosion followed by reconstruction. Vincent (2000), Granulometries and Opening
Trees, Fundamenta Informaticae 41, 57-90. The reconstructions, which take nearly all the time elsewhere, are read off
one max-tree of the image: Salembier, Oliveras, Garrido (1998), Antiextensive connected operators, IEEE Trans. Image
Process. 7, 555-570.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.ndimage import map_coordinates

from phenostream.compiled import kernel
from phenostream.values import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from phenostream.features.scene import Scene

VERSION = 1


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
    tree = _tree(grains)
    borders = np.linspace(0, length, min(scene.threads, length) + 1).astype(int)

    def some(first: int, last: int) -> NDArray[np.float64]:
        return _spectrum(grains, tree, shares, scene.areas, first, last)

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
    return np.maximum(reduced - background.astype(kind), 0).astype(np.float64)


def _resample(image: NDArray[Any], places: Sequence[NDArray[np.floating[Any]]], kind: np.dtype[Any]) -> NDArray[Any]:
    """`image` at every combination of row and column in `places`, bilinear, as `kind`; 0 beyond its border."""
    return map_coordinates(image, np.meshgrid(*places, indexing="ij"), order=1, output=kind)


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


def _tree(image: NDArray[np.float64]) -> tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]]]:
    """The max-tree (straight neighbours) of the pixels above 0: the flat index of every node, and its parent's place.

    Nodes stand in depth-first order, each parent (a root is its own) before its children: a branch lies together in
    memory as it does in the image, so that passes over the tree keep their pace however large the image is.
    """
    lit = np.flatnonzero(image.ravel() > 0)
    order = _brightest_first(lit, image.ravel()[lit])
    links = np.full((image.size, 2), -1, np.int32 if image.size < np.iinfo(np.int32).max else np.int64)
    _link(order, image.shape, links)
    return _depth_first(order, links)


def _brightest_first(lit: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.int64]:
    """`lit` by falling `values`, all above 0; the lower index first among equals."""
    single = values.astype(np.float32)
    if not np.array_equal(single, values):
        return lit[np.argsort(-values, kind="stable")]
    # The bits of positive floats count up as the floats do: value and index in one whole number sort ten times faster.
    falling = np.uint64(0xFFFFFFFF) - single.view(np.uint32).astype(np.uint64)
    keys = np.sort((falling << np.uint64(32)) | lit.astype(np.uint64))
    return (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)


@kernel
def _link(order: NDArray[np.int64], shape: tuple[int, int], links: NDArray[np.integer[Any]]) -> None:
    """Write every pixel's shortcut towards its root, and its parent: side by side, for one look at memory."""
    height, width = shape
    for p in order:
        links[p, 0] = links[p, 1] = p
        y, x = p // width, p % width
        for near, there in ((p - width, y > 0), (p + width, y < height - 1), (p - 1, x > 0), (p + 1, x < width - 1)):
            if there and links[near, 0] >= 0:
                root = links[near, 0]
                while links[root, 0] != root:
                    links[root, 0] = links[links[root, 0], 0]
                    root = links[root, 0]
                links[root, 0] = links[root, 1] = p


@kernel
def _depth_first(
    order: NDArray[np.int64], links: NDArray[np.integer[Any]]
) -> tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]]]:
    """Nodes and the places of their parents, from `order` (children first) and `links`, which are used up."""
    sizes, parents = links[:, 0], links[:, 1]
    for p in order:
        sizes[p] = 1
    for p in order:
        if parents[p] != p:
            sizes[parents[p]] += sizes[p]
    nodes, above = np.empty(order.size, links.dtype), np.empty(order.size, links.dtype)
    free = 0
    for k in range(order.size - 1, -1, -1):
        p = order[k]
        parent, size = parents[p], sizes[p]
        # A node that has its place keeps, instead of its size, the next place for a child, and its own as its parent.
        if parent == p:
            place, upper = free, free
            free += size
        else:
            place, upper = sizes[parent], parents[parent]
            sizes[parent] += size
        nodes[place], above[place] = p, upper
        sizes[p], parents[p] = place + 1, place
    return nodes, above


@kernel
def _spectrum(
    image: NDArray[np.float64],
    tree: tuple[NDArray[np.integer[Any]], NDArray[np.integer[Any]]],
    shares: tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]],
    areas: NDArray[np.int64],
    first: int,
    last: int,
) -> NDArray[np.float64]:
    """(last - first, n): each object's mean in the image that is left after removals `first` to `last` - 1."""
    nodes, parents = tree
    cells, weights, borders = shares
    means = np.zeros((last - first, areas.size))
    levels = image.ravel()[nodes]
    eroded, before = image.copy(), image.copy()
    left = np.zeros(image.size)
    for step in range(last):
        before, eroded = eroded, before
        _shrink(before, eroded)
        if step < first:
            continue
        kept = eroded.ravel()[nodes]
        for k in range(nodes.size - 1, -1, -1):
            kept[parents[k]] = max(kept[parents[k]], kept[k])
        # From the root down: a component keeps its level where the marker reaches it, else what its parent keeps.
        for k in range(nodes.size):
            kept[k] = min(levels[k], kept[k])
            kept[k] = max(kept[parents[k]], kept[k])
            left[nodes[k]] = kept[k]
        for i in range(areas.size):
            for k in range(borders[i], borders[i + 1]):
                means[step - first, i] += weights[k] * left[cells[k]]
            means[step - first, i] /= areas[i]
    return means


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
