"""Radial distribution: how the light is spread from an object's centre to its edge.

As CellProfiler's MeasureObjectIntensityDistribution with the object itself as centre: the centre is the pixel farthest
from the edge (the first in raster order among equals), rings have equal steps of *path from the centre / (path +
distance to the edge)*, and each ring is cut in eight wedges for its coefficient of variation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from phenostream.compiled import kernel
from phenostream.features.distances import from_centre
from phenostream.values import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from phenostream.features.scene import Scene

VERSION = 1
BY_OBJECT = True

_NAMES = ("FracAtD", "MeanFrac", "RadialCV")
_WEDGES = 8
_UNREACHED = np.int16(-1)


class Settings(BaseModel):
    """How many rings, and whether they scale with the object."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bins: int = Field(4, ge=2, le=64, description="Number of rings between the centre and the edge.")
    scaled: bool = Field(True, description="Rings scale with each object; otherwise they have a fixed width in pixels.")
    maximum_radius: int = Field(
        100,
        ge=1,
        description="Outer radius in pixels of the last ring that is not scaled; what lies beyond is overflow.",
    )

    @property
    def rings(self) -> list[str]:
        """The rings as they stand in column names."""
        return [f"{k}of{self.bins}" for k in range(1, self.bins + 1)] + ([] if self.scaled else ["Overflow"])


def columns(settings: Settings, channels: Sequence[str]) -> list[Column]:
    """``RadialDistribution_<name>_<channel>_<k>of<bins>``."""
    return [
        Column(f"RadialDistribution_{name}_{channel}_{ring}", family="RadialDistribution", channel=channel, unit="1")
        for channel in channels
        for name in _NAMES
        for ring in settings.rings
    ]


def compute(scene: Scene, settings: Settings) -> NDArray[np.float64]:
    """The features (n, channels * 3 * rings)."""
    places, count = sectors(scene, settings), len(settings.rings)
    return np.hstack([_profile(places, scene.offsets, scene.values(channel), count) for channel in scene.channels])


def sectors(scene: Scene, settings: Settings) -> NDArray[np.int16]:
    """Ring * 8 + wedge of every object pixel; -1 where no path leads from the centre (objects of several parts)."""
    radius = 0 if settings.scaled else settings.maximum_radius
    return _sectors(*scene.places, scene.offsets, scene.boxes, scene.depth, settings.bins, radius)


@kernel
def _sectors(
    rows: NDArray[np.int32],
    cols: NDArray[np.int32],
    offsets: NDArray[np.int64],
    boxes: NDArray[np.int64],
    depth: NDArray[np.int64],
    bins: int,
    radius: int,
) -> NDArray[np.int16]:
    out = np.empty(rows.size, np.int16)
    for i in range(boxes.shape[0]):
        start, stop = offsets[i], offsets[i + 1]
        top, left = boxes[i, 0] - 1, boxes[i, 1] - 1
        inside = np.zeros((boxes[i, 2] - top + 1, boxes[i, 3] - left + 1), np.bool_)
        centre = start
        for k in range(start, stop):
            inside[rows[k] - top, cols[k] - left] = True
            if depth[k] > depth[centre]:
                centre = k
        path = from_centre(inside, rows[centre] - top, cols[centre] - left)
        for k in range(start, stop):
            length = path[rows[k] - top, cols[k] - left]
            if length == np.inf:
                out[k] = _UNREACHED
                continue
            share = length / radius if radius > 0 else length / (length + np.sqrt(depth[k]) + 0.001)
            down, right = rows[k] - rows[centre], cols[k] - cols[centre]
            wedge = (down > 0) + 2 * (right > 0) + 4 * (abs(down) > abs(right))
            out[k] = min(int(share * bins), bins) * _WEDGES + wedge
    return out


@kernel
def _profile(
    sectors: NDArray[np.int16], offsets: NDArray[np.int64], values: NDArray[np.float64], count: int
) -> NDArray[np.float64]:
    n = offsets.size - 1
    out = np.empty((n, 3 * count))
    light = np.empty((count + 1, _WEDGES))
    pixels = np.empty((count + 1, _WEDGES))
    for i in range(n):
        light[:], pixels[:] = 0.0, 0.0
        for k in range(offsets[i], offsets[i + 1]):
            if sectors[k] >= 0:
                ring, wedge = sectors[k] // _WEDGES, sectors[k] % _WEDGES
                light[ring, wedge] += values[k]
                pixels[ring, wedge] += 1
        all_light, all_pixels = light.sum(), pixels.sum()
        for ring in range(count):
            share = light[ring].sum() / all_light
            out[i, ring] = share
            out[i, count + ring] = share / (pixels[ring].sum() / all_pixels + np.finfo(np.float64).eps)
            out[i, 2 * count + ring] = _variation(light[ring], pixels[ring])
    return out


@kernel
def _variation(light: NDArray[np.float64], pixels: NDArray[np.float64]) -> float:
    """Standard deviation over mean of the wedges' mean intensities; 0 for an empty or a dark ring."""
    used = 0
    mean = 0.0
    for w in range(light.size):
        if pixels[w] > 0:
            mean += light[w] / pixels[w]
            used += 1
    if used == 0:
        return 0.0
    mean /= used
    variance = 0.0
    for w in range(light.size):
        if pixels[w] > 0:
            variance += (light[w] / pixels[w] - mean) ** 2
    return np.sqrt(variance / used) / mean if mean != 0 else 0.0
