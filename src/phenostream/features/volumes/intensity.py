"""Intensity in three dimensions: how bright an object and its surface are, and where the light sits in it.

As CellProfiler's MeasureObjectIntensity of volumes. The edge is every voxel with a straight neighbour, within the
image, that is not of the object. With CellProfiler's quantiles, MADIntensity is the lower third and not the median of
the deviations, since CellProfiler divides by the number of dimensions; ``quantiles: numpy`` gives the median.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phenostream.compiled import kernel
from phenostream.features.families.intensity import (
    NAMES,
    VERSION,
    Settings,
    describe,
    named,
    ordered_values,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from phenostream.features.volumes.volume import Volume
    from phenostream.values import Column

    Places = NDArray[np.int32]

__all__ = ["BY_OBJECT", "VERSION", "Settings", "columns", "compute"]

BY_OBJECT = True

_PLACES = tuple(f"{name}_{axis}" for name in ("CenterMassIntensity", "MaxIntensity") for axis in "XYZ")


def columns(settings: Settings, channels: Sequence[str]) -> list[Column]:
    """``Intensity_*_<channel>``, and ``Location_*_<channel>`` where asked for."""
    return named(channels, _PLACES if settings.location else ())


def compute(scene: Volume, settings: Settings) -> NDArray[np.float64]:
    """The features (n, channels * 15 or 21); MassDisplacement is NaN for an object without light."""
    edge = _edge(scene.labels, *scene.points)
    less, third = (0, 1 / 3) if settings.quantiles == "cellprofiler" else (1, 1 / 2)
    kept = len(NAMES) + (len(_PLACES) if settings.location else 0)
    blocks = []
    for channel in scene.channels:
        values = scene.single(channel)
        ordered = ordered_values(values, scene.levels(channel), scene.offsets)
        blocks.append(_measure(values, ordered, edge, scene.points, scene.offsets, less, third)[:, :kept])
    return np.hstack(blocks)


@kernel
def _edge(
    labels: NDArray[np.int32], planes: NDArray[np.int32], rows: NDArray[np.int32], cols: NDArray[np.int32]
) -> NDArray[np.bool_]:
    """Which of the object voxels have a straight neighbour in the image with another label."""
    depth, height, width = labels.shape
    out = np.zeros(rows.size, np.bool_)
    for k in range(rows.size):
        z, y, x = planes[k], rows[k], cols[k]
        own = labels[z, y, x]
        out[k] = (
            (z > 0 and labels[z - 1, y, x] != own)
            or (z < depth - 1 and labels[z + 1, y, x] != own)
            or (y > 0 and labels[z, y - 1, x] != own)
            or (y < height - 1 and labels[z, y + 1, x] != own)
            or (x > 0 and labels[z, y, x - 1] != own)
            or (x < width - 1 and labels[z, y, x + 1] != own)
        )
    return out


@kernel
def _measure(
    values: NDArray[np.float64],
    sorted_values: NDArray[np.float64],
    edge: NDArray[np.bool_],
    points: tuple[Places, Places, Places],
    offsets: NDArray[np.int64],
    less: int,
    share: float,
) -> NDArray[np.float64]:
    planes, rows, cols = points
    n = offsets.size - 1
    out = np.zeros((n, 21))
    for i in range(n):
        start, stop = offsets[i], offsets[i + 1]
        own = values[start:stop]
        describe(own, own[edge[start:stop]], sorted_values[start:stop], less, share, out[i])
        _balance(own, (cols[start:stop], rows[start:stop], planes[start:stop]), out[i])
    return out


@kernel
def _balance(
    values: NDArray[np.float64],
    axes: tuple[Places, Places, Places],
    out: NDArray[np.float64],
) -> None:
    """Distance between the centre of mass and the centroid; the centre of mass; the first brightest voxel: X, Y, Z."""
    light = out[0] if out[0] != 0 else np.nan
    brightest = values.argmax()
    apart = 0.0
    for k in range(3):
        axis = axes[k]
        first, total, bright = axis[0], 0.0, 0.0
        for j in range(values.size):
            total += axis[j] - first
            bright += (axis[j] - first) * values[j]
        apart += (bright / light - total / values.size) ** 2
        out[15 + k] = first + bright / light
        out[18 + k] = axis[brightest]
    out[14] = np.sqrt(apart)
