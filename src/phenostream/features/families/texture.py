"""Texture: Haralick's features of the grey-level co-occurrence matrix.

Haralick, Shanmugam, Dinstein (1973), Textural Features for Image Classification, IEEE Trans. SMC 3(6), 610-621, in the
form that CellProfiler measures: intensities 0..1 in 256 levels (or fewer) over the whole range, both orders of a pair
counted, pairs only between pixels of one object, level 0 left out, logarithms to base 2.
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

_NAMES = (
    "AngularSecondMoment",
    "Contrast",
    "Correlation",
    "Variance",
    "InverseDifferenceMoment",
    "SumAverage",
    "SumVariance",
    "SumEntropy",
    "Entropy",
    "DifferenceVariance",
    "DifferenceEntropy",
    "InfoMeas1",
    "InfoMeas2",
)
# (rows, columns): right, down-right, down, down-left.
_STEPS = np.array([[0, 1], [1, 1], [1, 0], [1, -1]], np.int64)
# c * log2(c) of small counts: most cells of a co-occurrence matrix hold one or two pairs.
_LOGS = np.arange(4096.0) * np.log2(np.maximum(np.arange(4096.0), 1))


class Settings(BaseModel):
    """Scales and grey levels; the defaults are those of the published pipeline."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scales: tuple[int, ...] = Field(
        (3,), min_length=1, description="Distances in pixels between the two pixels of a pair."
    )
    grey_levels: int = Field(256, ge=2, le=256, description="Number of grey levels the intensities 0..1 are put in.")
    difference_variance: Literal["cellprofiler", "haralick"] = Field(
        "cellprofiler",
        description="CellProfiler gives the variance of the difference histogram's values, Haralick the difference's.",
    )


def columns(settings: Settings, channels: Sequence[str]) -> list[Column]:
    """``Texture_<name>_<channel>_<scale>_<direction>_<levels>``.

    Directions 00 to 03 are right, down-right, down, down-left.
    """
    return named(settings, channels, len(_STEPS))


def named(settings: Settings, channels: Sequence[str], directions: int) -> list[Column]:
    """The columns for so many directions."""
    return [
        Column(
            f"Texture_{name}_{channel}_{scale}_{direction:02d}_{settings.grey_levels}",
            family="Texture",
            channel=channel,
            unit="1",
        )
        for channel in channels
        for scale in settings.scales
        for direction in range(directions)
        for name in _NAMES
    ]


def compute(scene: Scene, settings: Settings) -> NDArray[np.float64]:
    """The features (n, channels * scales * 52); NaN where an object has no pair in one of the directions."""
    haralick = settings.difference_variance == "haralick"
    blocks = []
    for channel in scene.channels:
        levels = quantise(scene.values(channel), settings.grey_levels)
        for scale in settings.scales:
            found = _measure(levels, *scene.places, scene.offsets, scene.boxes, _STEPS * scale, haralick)
            blocks.append(found.reshape(len(scene), len(_STEPS) * len(_NAMES)))
    return np.hstack(blocks)


@kernel
def quantise(values: NDArray[np.float64], levels: int) -> NDArray[np.uint8]:
    """Intensities 0..1 as grey levels 0 to `levels` - 1: rounded to 256 first, then rescaled and cut off."""
    scale = (np.arange(256) / 255 * (levels - 1)).astype(np.uint8)
    out = np.empty(values.size, np.uint8)
    for k in range(values.size):
        eight = np.rint(min(max(values[k], 0.0), 1.0) * 255)
        out[k] = np.uint8(eight) if levels == 256 else scale[np.uint8(eight)]
    return out


@kernel
def _measure(
    levels: NDArray[np.uint8],
    rows: NDArray[np.int32],
    cols: NDArray[np.int32],
    offsets: NDArray[np.int64],
    boxes: NDArray[np.int64],
    steps: NDArray[np.int64],
    haralick: bool,  # noqa: FBT001
) -> NDArray[np.float64]:
    n = boxes.shape[0]
    out = np.full((n, steps.shape[0], 13), np.nan)
    table = np.zeros(65536, np.int32)
    touched = np.empty(65536, np.int32)
    counts = (np.zeros(256, np.int64), np.zeros(512, np.int64), np.zeros(256, np.int64))
    for i in range(n):
        top, left = boxes[i, 0], boxes[i, 1]
        crop = np.zeros((boxes[i, 2] - top, boxes[i, 3] - left), np.uint8)
        lowest, highest = 255, 0
        for k in range(offsets[i], offsets[i + 1]):
            crop[rows[k] - top, cols[k] - left] = levels[k]
            if levels[k] > 0:
                lowest, highest = min(lowest, levels[k]), max(highest, levels[k])
        for d in range(steps.shape[0]):
            used, pairs = _count(crop, steps[d, 0], steps[d, 1], table, touched)
            if pairs == 0:
                out[i] = np.nan
                break
            settle(table, touched[:used], pairs, counts, (lowest, highest), haralick, out[i, d])
    return out


@kernel
def _count(
    crop: NDArray[np.uint8], down: int, right: int, table: NDArray[np.int32], touched: NDArray[np.int32]
) -> tuple[int, int]:
    """Count unordered pairs of levels into `table` at lower * 256 + higher; the cells used and the number of pairs."""
    height, width = crop.shape
    used = pairs = 0
    for y in range(height - down):
        for x in range(max(0, -right), min(width, width - right)):
            a = np.int32(crop[y, x])
            b = np.int32(crop[y + down, x + right])
            if a > 0 and b > 0:
                cell = min(a, b) * 256 + max(a, b)
                if table[cell] == 0:
                    touched[used] = cell
                    used += 1
                table[cell] += 1
                pairs += 1
    return used, pairs


@kernel
def settle(
    table: NDArray[np.int32],
    touched: NDArray[np.int32],
    pairs: int,
    counts: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
    span: tuple[int, int],
    haralick: bool,  # noqa: FBT001
    out: NDArray[np.float64],
) -> None:
    """The 13 features of the `pairs` counted into the cells `touched` of `table`; it and `counts` are empty again."""
    _histograms(table, touched, counts[0], counts[1], counts[2])
    _describe(table, touched, pairs, counts, span, haralick, out)
    table[touched] = 0
    counts[0][:], counts[1][:], counts[2][:] = 0, 0, 0


@kernel
def _histograms(
    table: NDArray[np.int32],
    touched: NDArray[np.int32],
    single: NDArray[np.int64],
    total: NDArray[np.int64],
    apart: NDArray[np.int64],
) -> None:
    """Counts of one level, of the sum and of the difference of two, with both orders of every pair."""
    for cell in touched:
        a, b, count = cell // 256, cell % 256, table[cell]
        single[a] += count
        single[b] += count
        total[a + b] += 2 * count
        apart[b - a] += 2 * count


@kernel
def _entropy(counts: NDArray[np.int64], size: int) -> float:
    """``-sum(p log2 p)`` of ``p = counts / size``."""
    weighted = 0.0
    for count in counts:
        if count == size:
            return 0.0
        if count > 0:
            weighted += _LOGS[count] if count < _LOGS.size else count * np.log2(count)
    return float(np.log2(size) - weighted / size)


@kernel
def _cell_entropy(table: NDArray[np.int32], touched: NDArray[np.int32], size: int) -> float:
    """The same of the whole matrix: off the diagonal a pair stands twice with half its count."""
    weighted = 0.0
    for cell in touched:
        count = table[cell]
        if cell // 256 == cell % 256:
            count *= 2
            weighted += _LOGS[count] if count < _LOGS.size else count * np.log2(count)
        else:
            weighted += 2 * (_LOGS[count] if count < _LOGS.size else count * np.log2(count))
    return float(np.log2(size) - weighted / size)


@kernel
def _spread(counts: NDArray[np.int64], size: int) -> tuple[float, float]:
    """Mean and variance of the index under ``counts / size``."""
    mean = 0.0
    for k in range(counts.size):
        mean += k * counts[k]
    mean /= size
    variance = 0.0
    for k in range(counts.size):
        if counts[k] > 0:
            variance += counts[k] * (k - mean) ** 2
    return mean, variance / size


@kernel
def _describe(
    table: NDArray[np.int32],
    touched: NDArray[np.int32],
    pairs: int,
    counts: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
    span: tuple[int, int],
    haralick: bool,  # noqa: FBT001
    out: NDArray[np.float64],
) -> None:
    """The 13 features of one matrix, into `out`."""
    size = 2 * pairs
    lowest, highest = span
    # Levels count from the lowest in use, so that empty ones cost nothing.
    single, total = counts[0][lowest : highest + 1], counts[1][2 * lowest : 2 * highest + 1]
    apart = counts[2][: highest + 1]
    mean, variance = _spread(single, size)
    mean += lowest
    second = shared = 0.0
    for cell in touched:
        a, b, count = cell // 256, cell % 256, table[cell]
        second += (4.0 if a == b else 2.0) * count * count
        shared += 2.0 * count * (a - mean) * (b - mean)
    contrast = closeness = 0.0
    for k in range(highest - lowest + 1):
        contrast += float(k * k) * apart[k]
        closeness += apart[k] / (1.0 + k * k)
    out[0] = second / size / size
    out[1] = contrast / size
    out[2] = shared / size / variance if variance > 0 else 1.0
    out[3] = variance
    out[4] = closeness / size
    out[5], out[6] = _spread(total, size)
    out[5] += 2 * lowest
    out[7] = _entropy(total, size)
    # One level only: all entropies are zero, and rounding must not make them something else.
    out[8] = _cell_entropy(table, touched, size) if variance > 0 else 0.0
    out[9] = _spread(apart, size)[1] if haralick else _histogram_variance(apart, size)
    out[10] = _entropy(apart, size)
    alone = _entropy(single, size)
    out[11] = (out[8] - 2 * alone) / alone if alone > 0 else 0.0
    out[12] = np.sqrt(max(0.0, 1 - np.exp(-2 * (2 * alone - out[8]))))


@kernel
def _histogram_variance(apart: NDArray[np.int64], size: int) -> float:
    """Variance of the values of ``apart / size``: what CellProfiler calls DifferenceVariance."""
    mean = 1.0 / apart.size
    variance = 0.0
    for count in apart:
        variance += (count / size - mean) ** 2
    return variance / apart.size
