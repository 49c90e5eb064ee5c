"""Costes' automatic threshold: the highest pair of intensities below which two channels no longer go together.

Costes et al. (2004), Automatic and quantitative measurement of protein-protein colocalization in live cells,
Biophysical Journal 86, 3993-4003. The pair runs down the orthogonal regression line of the two channels; searched
among grey levels as CellProfiler does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phenostream.compiled import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray


@kernel
def thresholds(
    one: NDArray[np.float64], other: NDArray[np.float64], offsets: NDArray[np.int64], scale: float, mode: int
) -> NDArray[np.float64]:
    """(groups, 2): threshold of both channels in each group of pixels; NaN where it is undefined.

    Args:
        one: intensities 0..1, group by group.
        other: those of the other channel.
        offsets: borders between groups.
        scale: number of grey levels that are searched.
        mode: 0 bisection, 1 steps that adapt to the correlation, 2 single steps.
    """
    out = np.full((offsets.size - 1, 2), np.nan)
    for i in range(offsets.size - 1):
        a, b = one[offsets[i] : offsets[i + 1]], other[offsets[i] : offsets[i + 1]]
        slope, shift = _line(a, b)
        if np.isfinite(slope) and np.isfinite(shift):
            cut = _bisect(a, b, slope, shift, scale) if mode == 0 else _descend(a, b, slope, shift, scale, mode == 2)
            if np.isfinite(_below(a, b, cut, slope * cut + shift)[0]):
                out[i, 0], out[i, 1] = cut, slope * cut + shift
    return out


@kernel
def _line(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float]:
    """Slope and shift of the orthogonal regression of `b` on `a`, where either has light; NaN without covariance."""
    lit = (a > 0) | (b > 0)
    x, y = a[lit], b[lit]
    if x.size < 3 or x.max() == x.min() or y.max() == y.min():
        return np.nan, np.nan
    dx, dy = x - x.mean(), y - y.mean()
    xx, yy, xy = (dx * dx).sum() / (x.size - 1), (dy * dy).sum() / (x.size - 1), (dx * dy).sum() / (x.size - 1)
    if abs(xy) <= 8 * np.finfo(np.float64).eps * max(xx, yy):
        return np.nan, np.nan
    slope = (yy - xx + np.sqrt((yy - xx) ** 2 + 4 * xy * xy)) / (2 * xy)
    return slope, y.mean() - slope * x.mean()


@kernel
def _below(a: NDArray[np.float64], b: NDArray[np.float64], low_a: float, low_b: float) -> tuple[float, int]:
    """Correlation where either channel is below its threshold, NaN for fewer than three pixels; their number."""
    count = 0
    x_sum = y_sum = 0.0
    for k in range(a.size):
        if a[k] < low_a or b[k] < low_b:
            count += 1
            x_sum += a[k]
            y_sum += b[k]
    if count < 3:
        return np.nan, count
    x_mean, y_mean = x_sum / count, y_sum / count
    xx = yy = xy = 0.0
    x_low, x_high, y_low, y_high = np.inf, -np.inf, np.inf, -np.inf
    for k in range(a.size):
        if a[k] < low_a or b[k] < low_b:
            x, y = a[k] - x_mean, b[k] - y_mean
            xx += x * x
            yy += y * y
            xy += x * y
            x_low, x_high = min(x_low, a[k]), max(x_high, a[k])
            y_low, y_high = min(y_low, b[k]), max(y_high, b[k])
    if x_low == x_high or y_low == y_high:
        return np.nan, count
    return float(xy / (np.sqrt(xx) * np.sqrt(yy))), count


@kernel
def _bisect(a: NDArray[np.float64], b: NDArray[np.float64], slope: float, shift: float, scale: float) -> float:
    """The search looks a sixth below the top of its window, as correlations are erratic at low thresholds."""
    low, high, last, valid = 1.0, scale, 0.0, np.nan
    middle = (high - low) // 1.2 + low
    for _ in range(256):
        if middle == last:
            break
        cut = middle / scale
        correlation = _below(a, b, cut, slope * cut + shift)[0]
        if correlation >= 0:
            high, valid = middle + 1, middle
        else:
            low = middle - 1
        last = middle
        middle = (high - low) // (1.2 if high - low > 6 else 2.0) + low
    return float((valid - 1) / scale)


@kernel
def _descend(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    slope: float,
    shift: float,
    scale: float,
    single: bool,  # noqa: FBT001
) -> float:
    """From the brightest pixel down until the correlation below is gone."""
    step = 1.0 / scale
    level = step * (max(a.max(), b.max()) // step + 1)
    cut, before, correlation = level, -1, 1.0
    while level > a.max() and slope * level + shift > b.max():
        level -= step
    while level > step:
        cut = level
        found, count = _below(a, b, cut, slope * cut + shift)
        if count != before:
            correlation, before = found, count
        if not correlation > 0:
            break
        stride = 1
        if not single and level >= step * 10:
            stride = 10 if correlation > 0.45 else 5 if correlation > 0.35 else 2 if correlation > 0.25 else 1
        level -= step * stride
    return float(cut)
