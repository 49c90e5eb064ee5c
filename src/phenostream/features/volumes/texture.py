"""Texture in three dimensions: Haralick's features along the 13 directions of the 26 neighbours.

As :mod:`phenostream.features.families.texture`, with CellProfiler's order of directions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phenostream.compiled import kernel
from phenostream.features.families.texture import VERSION, Settings, named, quantise, settle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from phenostream.features.volumes.volume import Volume
    from phenostream.values import Column

    Places = NDArray[np.int32]

__all__ = ["BY_OBJECT", "VERSION", "Settings", "columns", "compute"]

BY_OBJECT = True

# How far the second voxel of a pair is from the first: planes, rows, columns.
_STEPS = np.array(
    [
        [1, 0, 0],
        [1, 1, 0],
        [0, 1, 0],
        [1, -1, 0],
        [0, 0, 1],
        [1, 0, 1],
        [0, 1, 1],
        [1, 1, 1],
        [1, -1, 1],
        [1, 0, -1],
        [0, 1, -1],
        [1, 1, -1],
        [1, -1, -1],
    ],
    np.int64,
)


def columns(settings: Settings, channels: Sequence[str]) -> list[Column]:
    """``Texture_<feature>_<channel>_<scale>_<direction 00 to 12>_<levels>``."""
    return named(settings, channels, len(_STEPS))


def compute(scene: Volume, settings: Settings) -> NDArray[np.float64]:
    """The features (n, channels * scales * 169); NaN where an object has no pair in one of the directions."""
    haralick = settings.difference_variance == "haralick"
    blocks = []
    for channel in scene.channels:
        levels = quantise(scene.values(channel), settings.grey_levels)
        for scale in settings.scales:
            found = _measure(levels, scene.points, scene.offsets, scene.corners, _STEPS * scale, haralick)
            blocks.append(found.reshape(len(scene), -1))
    return np.hstack(blocks)


@kernel
def _measure(
    levels: NDArray[np.uint8],
    points: tuple[Places, Places, Places],
    offsets: NDArray[np.int64],
    corners: NDArray[np.int64],
    steps: NDArray[np.int64],
    haralick: bool,  # noqa: FBT001
) -> NDArray[np.float64]:
    planes, rows, cols = points
    n = corners.shape[0]
    out = np.full((n, steps.shape[0], 13), np.nan)
    table = np.zeros(65536, np.int32)
    touched = np.empty(65536, np.int32)
    counts = (np.zeros(256, np.int64), np.zeros(512, np.int64), np.zeros(256, np.int64))
    for i in range(n):
        low, high = corners[i, :3], corners[i, 3:]
        crop = np.zeros((high[0] - low[0], high[1] - low[1], high[2] - low[2]), np.uint8)
        lowest, highest = 255, 0
        for k in range(offsets[i], offsets[i + 1]):
            crop[planes[k] - low[0], rows[k] - low[1], cols[k] - low[2]] = levels[k]
            if levels[k] > 0:
                lowest, highest = min(lowest, levels[k]), max(highest, levels[k])
        for d in range(steps.shape[0]):
            used, pairs = _count(crop, steps[d], table, touched)
            if pairs == 0:
                out[i] = np.nan
                break
            settle(table, touched[:used], pairs, counts, (lowest, highest), haralick, out[i, d])
    return out


@kernel
def _count(
    crop: NDArray[np.uint8], step: NDArray[np.int64], table: NDArray[np.int32], touched: NDArray[np.int32]
) -> tuple[int, int]:
    """Count unordered pairs of levels into `table` at lower * 256 + higher; the cells used and the number of pairs."""
    depth, height, width = crop.shape
    deep, down, right = step
    used = pairs = 0
    for z in range(depth - deep):
        for y in range(max(0, -down), min(height, height - down)):
            for x in range(max(0, -right), min(width, width - right)):
                a, b = np.int32(crop[z, y, x]), np.int32(crop[z + deep, y + down, x + right])
                if a > 0 and b > 0:
                    cell = min(a, b) * 256 + max(a, b)
                    if table[cell] == 0:
                        touched[used] = cell
                        used += 1
                    table[cell] += 1
                    pairs += 1
    return used, pairs
