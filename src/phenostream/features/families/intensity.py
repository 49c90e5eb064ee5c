"""Intensity: how bright an object and its edge are, and where the light sits in it.

As CellProfiler's MeasureObjectIntensity, down to the single precision in which it scales integer pixels. The edge is
every pixel with a straight neighbour, within the image, that is not of the object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from phenostream.compiled import kernel
from phenostream.values import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from phenostream.features.scene import Scene

VERSION = 1
BY_OBJECT = True

NAMES = (
    "IntegratedIntensity",
    "MeanIntensity",
    "StdIntensity",
    "MinIntensity",
    "MaxIntensity",
    "IntegratedIntensityEdge",
    "MeanIntensityEdge",
    "StdIntensityEdge",
    "MinIntensityEdge",
    "MaxIntensityEdge",
    "LowerQuartileIntensity",
    "MedianIntensity",
    "UpperQuartileIntensity",
    "MADIntensity",
    "MassDisplacement",
)
_PLACES = ("CenterMassIntensity_X", "CenterMassIntensity_Y", "MaxIntensity_X", "MaxIntensity_Y")


class Settings(BaseModel):
    """How quantiles are read, and whether places are reported."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    quantiles: Literal["cellprofiler", "numpy"] = Field(
        "cellprofiler",
        description="Place of quantile q among n sorted values, from 0: CellProfiler takes n q, NumPy (n - 1) q.",
    )
    location: bool = Field(
        False, description="Also report where the centre of mass and the first brightest pixel are, as `Location_*`."
    )


def columns(settings: Settings, channels: Sequence[str]) -> list[Column]:
    """``Intensity_*_<channel>``, and ``Location_*_<channel>`` where asked for."""
    return named(channels, _PLACES if settings.location else ())


def named(channels: Sequence[str], places: Sequence[str]) -> list[Column]:
    """The columns, with `places` of each channel."""
    found = []
    for channel in channels:
        for name in NAMES:
            unit = "px" if name == "MassDisplacement" else "intensity"
            found.append(Column(f"Intensity_{name}_{channel}", family="Intensity", channel=channel, unit=unit))
        for name in places:
            column = f"Location_{name}_{channel}"
            found.append(Column(column, family="Location", channel=channel, unit="px", positional=True))
    return found


def compute(scene: Scene, settings: Settings) -> NDArray[np.float64]:
    """The features (n, channels * 15 or 19); MassDisplacement is NaN for an object without light."""
    edge = edge_pixels(scene.labels, *scene.places)
    less = 0 if settings.quantiles == "cellprofiler" else 1
    kept = len(NAMES) + (len(_PLACES) if settings.location else 0)
    blocks = []
    for channel in scene.channels:
        values = scene.single(channel)
        ordered = ordered_values(values, scene.levels(channel), scene.offsets)
        blocks.append(_measure(values, ordered, edge, *scene.places, scene.offsets, less))
    return np.hstack([block[:, :kept] for block in blocks])


@kernel
def edge_pixels(labels: NDArray[np.int32], rows: NDArray[np.int32], cols: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which of the object pixels at `rows` and `cols` have a straight neighbour in the image with another label."""
    height, width = labels.shape
    out = np.zeros(rows.size, np.bool_)
    for k in range(rows.size):
        y, x = rows[k], cols[k]
        own = labels[y, x]
        out[k] = (
            (y > 0 and labels[y - 1, x] != own)
            or (y < height - 1 and labels[y + 1, x] != own)
            or (x > 0 and labels[y, x - 1] != own)
            or (x < width - 1 and labels[y, x + 1] != own)
        )
    return out


@kernel
def ordered_values(
    values: NDArray[np.float64], levels: NDArray[np.int32], offsets: NDArray[np.int64]
) -> NDArray[np.float64]:
    """`values` sorted within each object; by counting where they come from whole `levels` in a narrow range."""
    out = np.empty_like(values)
    for i in range(offsets.size - 1):
        start, stop = offsets[i], offsets[i + 1]
        own = levels[start:stop] if levels.size > 0 else levels
        if levels.size == 0 or own.max() - own.min() > 16 * own.size:
            out[start:stop] = np.sort(values[start:stop])
            continue
        low = own.min()
        counts = np.zeros(own.max() - low + 1, np.int64)
        scaled = np.empty(counts.size)
        for k in range(own.size):
            counts[own[k] - low] += 1
            scaled[own[k] - low] = values[start + k]
        k = start
        for level in range(counts.size):
            for _ in range(counts[level]):
                out[k] = scaled[level]
                k += 1
    return out


@kernel
def _measure(
    values: NDArray[np.float64],
    sorted_values: NDArray[np.float64],
    edge: NDArray[np.bool_],
    rows: NDArray[np.int32],
    cols: NDArray[np.int32],
    offsets: NDArray[np.int64],
    less: int,
) -> NDArray[np.float64]:
    n = offsets.size - 1
    out = np.zeros((n, 19))
    for i in range(n):
        start, stop = offsets[i], offsets[i + 1]
        own = values[start:stop]
        describe(own, own[edge[start:stop]], sorted_values[start:stop], less, 0.5, out[i])
        _balance(own, rows[start:stop], cols[start:stop], out[i])
    return out


@kernel
def describe(
    own: NDArray[np.float64],
    rim: NDArray[np.float64],
    ordered: NDArray[np.float64],
    less: int,
    share: float,
    out: NDArray[np.float64],
) -> None:
    """Moments of an object, moments of its edge where it has one, quartiles; the `share` quantile of the deviations."""
    moments(own, out[0:5])
    if rim.size > 0:
        moments(rim, out[5:10])
    middle = quantile(ordered, 0.5, less)
    out[10] = quantile(ordered, 0.25, less)
    out[11] = middle
    out[12] = quantile(ordered, 0.75, less)
    out[13] = quantile(deviations(ordered, middle), share, less)


@kernel
def moments(values: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Sum, mean, standard deviation, smallest, largest."""
    total, low, high = 0.0, values[0], values[0]
    for value in values:
        total += value
        low, high = min(low, value), max(high, value)
    mean = total / values.size
    spread = 0.0
    for value in values:
        spread += (value - mean) ** 2
    out[0], out[1], out[2], out[3], out[4] = total, mean, np.sqrt(spread / values.size), low, high


@kernel
def quantile(ordered: NDArray[np.float64], q: float, less: int) -> float:
    """The `q` quantile of sorted values, linear between the two at its place among ``size - less``."""
    place = (ordered.size - less) * q
    low = min(int(place), ordered.size - 1)
    high = min(low + 1, ordered.size - 1)
    share = place - low
    return float(ordered[low] * (1 - share) + ordered[high] * share)


@kernel
def deviations(ordered: NDArray[np.float64], middle: float) -> NDArray[np.float64]:
    """``abs(ordered - middle)``, sorted: a merge of what lies below and above, both in order already."""
    out = np.empty_like(ordered)
    above = np.searchsorted(ordered, middle)
    below = above - 1
    for k in range(ordered.size):
        if above == ordered.size or (below >= 0 and middle - ordered[below] <= ordered[above] - middle):
            out[k] = middle - ordered[below]
            below -= 1
        else:
            out[k] = ordered[above] - middle
            above += 1
    return out


@kernel
def _balance(
    values: NDArray[np.float64], rows: NDArray[np.int32], cols: NDArray[np.int32], out: NDArray[np.float64]
) -> None:
    """Distance between the centre of mass and the centroid; the centre of mass; the first brightest pixel."""
    y0, x0, brightest = rows[0], cols[0], 0
    y_sum = x_sum = y_light = x_light = 0.0
    for k in range(values.size):
        y, x = rows[k] - y0, cols[k] - x0
        y_sum += y
        x_sum += x
        y_light += y * values[k]
        x_light += x * values[k]
        if values[k] > values[brightest]:
            brightest = k
    light = out[0] if out[0] != 0 else np.nan
    y, x = y_light / light, x_light / light
    out[14] = np.sqrt((y - y_sum / values.size) ** 2 + (x - x_sum / values.size) ** 2)
    out[15], out[16] = x0 + x, y0 + y
    out[17], out[18] = cols[brightest], rows[brightest]
