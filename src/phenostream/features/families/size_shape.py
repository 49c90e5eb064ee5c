"""Size and shape: area, axes, roundness, radii, position.

As CellProfiler's MeasureObjectSizeShape. Lengths are between pixel centres except where said; the ellipse has the
object's second central moments; the perimeter is Benkrid and Crookes' (2000, Design and FPGA implementation of a
perimeter estimator); the Euler number counts bit quads with 8-connectivity (Gray 1971, Local properties of binary
images in two dimensions, IEEE Trans. Comput. C-20, 551-561).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from phenostream.compiled import kernel
from phenostream.features.hulls import convex_area, extremes
from phenostream.features.moments import moment_names, moments
from phenostream.values import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from phenostream.features.scene import Scene

VERSION = 1
BY_OBJECT = True

_UNITS = {
    "Area": "px^2",
    "BoundingBoxArea": "px^2",
    "BoundingBoxMaximum_X": "px",
    "BoundingBoxMaximum_Y": "px",
    "BoundingBoxMinimum_X": "px",
    "BoundingBoxMinimum_Y": "px",
    "Center_X": "px",
    "Center_Y": "px",
    "Compactness": "1",
    "ConvexArea": "px^2",
    "Eccentricity": "1",
    "EquivalentDiameter": "px",
    "EulerNumber": "1",
    "Extent": "1",
    "FormFactor": "1",
    "MajorAxisLength": "px",
    "MaximumRadius": "px",
    "MeanRadius": "px",
    "MedianRadius": "px",
    "MinorAxisLength": "px",
    "Orientation": "deg",
    "Perimeter": "px",
    "Solidity": "1",
}
_POSITIONAL = ("BoundingBoxM", "Center_", "Orientation")
# Contribution of a border pixel by 1 + 2 * (straight border neighbours) + 10 * (diagonal ones).
_PERIMETER = np.zeros(51)
_PERIMETER[[5, 7, 15, 17, 25, 27]] = 1
_PERIMETER[[21, 33]] = np.sqrt(2)
_PERIMETER[[13, 23]] = (1 + np.sqrt(2)) / 2
# What a quad adds to 4 * Euler number: one pixel 1, three pixels -1, two on a diagonal -2.
_EULER = np.array([0, 1, 1, 0, 1, 0, -2, -1, 1, -2, 0, -1, 0, -1, -1, 0], np.int64)


class Settings(BaseModel):
    """Whether moments are wanted too."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    moments: bool = Field(
        False, description="Also report spatial, central, normalised and Hu moments and the inertia tensor."
    )


def columns(settings: Settings, channels: Sequence[str]) -> list[Column]:  # noqa: ARG001
    """``AreaShape_*``: one column a feature, then the moments where asked for."""
    found = [
        Column(f"AreaShape_{name}", family="AreaShape", unit=unit, positional=name.startswith(_POSITIONAL))
        for name, unit in _UNITS.items()
    ]
    if settings.moments:
        found += [Column(f"AreaShape_{name}", family="AreaShape", unit="1") for name in moment_names()]
    return found


def compute(scene: Scene, settings: Settings) -> NDArray[np.float64]:
    """The features (n, 23, or 76 with moments).

    A single pixel has no perimeter, so its FormFactor is infinite, as in CellProfiler.
    """
    outline = _outlines(*scene.places, scene.offsets, scene.boxes, _PERIMETER, _EULER)
    found = {
        **_extent(scene),
        **_ellipse(_central(*scene.places, scene.offsets)),
        **_roundness(scene.areas.astype(float), outline),
        **dict(
            zip(("MaximumRadius", "MeanRadius", "MedianRadius"), _radii(scene.thickness, scene.offsets).T, strict=True)
        ),
    }
    block = np.column_stack([found[name] for name in _UNITS]).astype(float)
    return np.hstack([block, moments(*scene.places, scene.offsets, scene.boxes)]) if settings.moments else block


def _extent(scene: Scene) -> dict[str, NDArray[np.float64]]:
    top, left, bottom, right = scene.boxes.T
    box = (bottom - top) * (right - left)
    return {
        "Area": scene.areas,
        "BoundingBoxArea": box,
        "BoundingBoxMinimum_X": left,
        "BoundingBoxMinimum_Y": top,
        "BoundingBoxMaximum_X": right,
        "BoundingBoxMaximum_Y": bottom,
        "EquivalentDiameter": np.sqrt(4 * scene.areas / np.pi),
        "Extent": scene.areas / box,
    }


def _ellipse(central: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    y, x, yy, xx, xy = central.T
    middle, half = (yy + xx) / 2, np.sqrt(((yy - xx) / 2) ** 2 + xy**2)
    large, small = middle + half, np.maximum(middle - half, 0)
    with np.errstate(invalid="ignore"):
        eccentricity = np.where(large == 0, 0, np.sqrt(1 - small / large))
    level = np.where(xy > 0, 45.0, -45.0)
    return {
        "Center_X": x,
        "Center_Y": y,
        "MajorAxisLength": 4 * np.sqrt(large),
        "MinorAxisLength": 4 * np.sqrt(small),
        "Eccentricity": eccentricity,
        "Orientation": np.where(yy == xx, level, np.rad2deg(0.5 * np.arctan2(2 * xy, yy - xx))),
    }


def _roundness(area: NDArray[np.float64], outline: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    perimeter, euler, convex = outline.T
    with np.errstate(divide="ignore"):
        form = 4 * np.pi * area / perimeter**2
    return {
        "Perimeter": perimeter,
        "EulerNumber": euler,
        "ConvexArea": convex,
        "Solidity": area / convex,
        "FormFactor": form,
        "Compactness": perimeter**2 / (4 * np.pi * area),
    }


@kernel
def _central(rows: NDArray[np.int32], cols: NDArray[np.int32], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n, 5): mean row and column, variances of rows and columns, their covariance."""
    n = offsets.size - 1
    out = np.empty((n, 5))
    for i in range(n):
        area = offsets[i + 1] - offsets[i]
        top, left = rows[offsets[i]], cols[offsets[i]]
        y_sum = x_sum = np.int64(0)
        for k in range(offsets[i], offsets[i + 1]):
            y_sum += rows[k] - top
            x_sum += cols[k] - left
        # In units of 1 / area all deviations are whole, so that a symmetric object is exactly symmetric.
        yy = xx = xy = 0.0
        for k in range(offsets[i], offsets[i + 1]):
            y = float((rows[k] - top) * area - y_sum)
            x = float((cols[k] - left) * area - x_sum)
            yy += y * y
            xx += x * x
            xy += x * y
        cube = float(area) * area * area
        out[i] = (top + y_sum / area, left + x_sum / area, yy / cube, xx / cube, xy / cube)
    return out


@kernel
def _outlines(
    rows: NDArray[np.int32],
    cols: NDArray[np.int32],
    offsets: NDArray[np.int64],
    boxes: NDArray[np.int64],
    lengths: NDArray[np.float64],
    quads: NDArray[np.int64],
) -> NDArray[np.float64]:
    """(n, 3): perimeter, Euler number, convex area."""
    n = boxes.shape[0]
    out = np.empty((n, 3))
    for i in range(n):
        # Two rows and columns of nothing around the object spare every test for the edge.
        top, left = boxes[i, 0] - 2, boxes[i, 1] - 2
        inside = np.zeros((boxes[i, 2] - top + 2, boxes[i, 3] - left + 2), np.int64)
        for k in range(offsets[i], offsets[i + 1]):
            inside[rows[k] - top, cols[k] - left] = 1
        first, last = extremes(rows, cols, offsets[i], offsets[i + 1], boxes[i, 0], boxes[i, 2] - boxes[i, 0])
        out[i] = (_perimeter(inside, lengths), float(_euler(inside, quads)), float(convex_area(first, last)))
    return out


@kernel
def _perimeter(inside: NDArray[np.int64], lengths: NDArray[np.float64]) -> float:
    height, width = inside.shape
    border = np.zeros_like(inside)
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            if inside[y, x] and inside[y - 1, x] + inside[y + 1, x] + inside[y, x - 1] + inside[y, x + 1] < 4:
                border[y, x] = 1
    kinds = np.zeros(lengths.size, np.int64)
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            if border[y, x]:
                straight = border[y - 1, x] + border[y + 1, x] + border[y, x - 1] + border[y, x + 1]
                diagonal = border[y - 1, x - 1] + border[y - 1, x + 1] + border[y + 1, x - 1] + border[y + 1, x + 1]
                kinds[1 + 2 * straight + 10 * diagonal] += 1
    total = 0.0
    for kind in range(lengths.size):
        total += kinds[kind] * lengths[kind]
    return total


@kernel
def _euler(inside: NDArray[np.int64], quads: NDArray[np.int64]) -> int:
    height, width = inside.shape
    total = np.int64(0)
    for y in range(height - 1):
        for x in range(width - 1):
            total += quads[inside[y, x] + 2 * inside[y, x + 1] + 4 * inside[y + 1, x] + 8 * inside[y + 1, x + 1]]
    return int(total // 4)


@kernel
def _radii(thickness: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n, 3): largest, mean and median of the square root of `thickness`; by counting, as it is whole and small."""
    n = offsets.size - 1
    out = np.empty((n, 3))
    for i in range(n):
        own = thickness[offsets[i] : offsets[i + 1]]
        counts = np.zeros(own.max() + 1, np.int64)
        for square in own:
            counts[square] += 1
        below, mean, lower, upper = 0, 0.0, 0.0, 0.0
        for square in range(counts.size):
            if counts[square] > 0:
                root = np.sqrt(square)
                mean += counts[square] * root
                if below <= (own.size - 1) // 2:
                    lower = root
                if below <= own.size // 2:
                    upper = root
                below += counts[square]
        out[i] = (np.sqrt(own.max()), mean / own.size, (lower + upper) / 2)
    return out
