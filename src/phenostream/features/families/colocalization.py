"""Colocalisation: how two channels go together within an object.

As CellProfiler's MeasureColocalization: Pearson's correlation; overlap and K coefficients and Manders' above a share
of each channel's maximum in the object; rank-weighted colocalisation (Singan et al. 2011, BMC Bioinformatics 12,
407); Costes' (Costes et al. 2004, Biophysical Journal 86, 3993-4003) above an automatic threshold.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from phenostream.compiled import kernel
from phenostream.features.costes import thresholds
from phenostream.values import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from phenostream.features.scene import Scene

VERSION = 1

_MODES = {"faster": 0, "fast": 1, "accurate": 2}


class Settings(BaseModel):
    """Thresholds, and over what ranks and Costes' threshold are taken."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(
        15.0, ge=0, le=99, description="Pixels below this percentage of the object's maximum count as background."
    )
    costes: Literal["faster", "fast", "accurate"] = Field(
        "faster",
        description="How Costes' threshold is searched: by bisection, by steps that adapt, or by single steps.",
    )
    over: Literal["field", "object"] = Field(
        "field",
        description="Ranks and Costes' threshold over all objects' pixels as CellProfiler does, or each object's.",
    )


def columns(settings: Settings, channels: Sequence[str]) -> list[Column]:  # noqa: ARG001
    """``Correlation_<name>_<one>_<other>`` for every pair of channels; both ways round where the order matters."""
    found = []
    for a, b in combinations(channels, 2):
        names = [f"{name}_{a}_{b}" for name in ("Correlation", "Overlap")]
        names += [
            f"{name}_{one}_{other}" for name in ("K", "Manders", "RWC", "Costes") for one, other in ((a, b), (b, a))
        ]
        found += [Column(f"Correlation_{name}", family="Correlation", channel=f"{a}_{b}", unit="1") for name in names]
    return found


def compute(scene: Scene, settings: Settings) -> NDArray[np.float64]:
    """The coefficients (n, pairs * 10); NaN where a channel is constant in the object or no threshold exists."""
    whole = np.array([0, len(scene.pixels)]) if settings.over == "field" else scene.offsets
    blocks = [np.zeros((len(scene), 0))]
    for a, b in combinations(scene.channels, 2):
        one, other = scene.values(a), scene.values(b)
        scale = max(_steps(scene, a), _steps(scene, b))
        cuts = thresholds(one, other, whole, scale, _MODES[settings.costes])
        cuts = np.repeat(cuts, len(scene), axis=0) if settings.over == "field" else cuts
        weights = _weights(one, other, whole)
        blocks.append(_measure(one, other, weights, cuts, scene.offsets, settings.threshold / 100))
    return np.hstack(blocks)


def _steps(scene: Scene, channel: str) -> float:
    """Grey levels among which Costes' threshold is searched: those of the integer type; 255 for floats."""
    return scene.scale(channel) if scene.image(channel).dtype.kind == "u" else 255.0


@kernel
def _weights(one: NDArray[np.float64], other: NDArray[np.float64], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """1 where a pixel has the same rank in both channels, less the further apart; ranks within each group."""
    out = np.empty(one.size)
    for i in range(offsets.size - 1):
        start, stop = offsets[i], offsets[i + 1]
        first, second = _ranks(one[start:stop]), _ranks(other[start:stop])
        if first.size > 0:
            most = max(first.max(), second.max()) + 1
            out[start:stop] = (most - np.abs(first - second)) / most
    return out


@kernel
def _ranks(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rank of every value among the different values."""
    order = np.argsort(values)
    ranks = np.zeros(values.size, np.int64)
    for k in range(1, values.size):
        ranks[order[k]] = ranks[order[k - 1]] + (values[order[k]] != values[order[k - 1]])
    return ranks


@kernel
def _measure(
    one: NDArray[np.float64],
    other: NDArray[np.float64],
    weights: NDArray[np.float64],
    cuts: NDArray[np.float64],
    offsets: NDArray[np.int64],
    share: float,
) -> NDArray[np.float64]:
    n = offsets.size - 1
    out = np.zeros((n, 10))
    for i in range(n):
        a, b, w = (
            one[offsets[i] : offsets[i + 1]],
            other[offsets[i] : offsets[i + 1]],
            weights[offsets[i] : offsets[i + 1]],
        )
        out[i, 0] = _pearson(a, b)
        _shared(a, b, w, share * a.max(), share * b.max(), out[i, 1:8])
        out[i, 8], out[i, 9] = _above(a, b, cuts[i, 0], cuts[i, 1])
    return out


@kernel
def _pearson(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    if a.min() == a.max() or b.min() == b.max():
        # The mean of equal values may miss them by rounding, which would look like a correlation.
        return np.nan
    x, y = a - a.mean(), b - b.mean()
    return float((x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum()))


@kernel
def _shared(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    w: NDArray[np.float64],
    low_a: float,
    low_b: float,
    out: NDArray[np.float64],
) -> None:
    """Overlap, K both ways, Manders' both ways, rank-weighted both ways; zeros where no pixel is bright in both."""
    aa = bb = ab = all_a = all_b = both_a = both_b = ranked_a = ranked_b = 0.0
    count = 0
    for k in range(a.size):
        all_a += a[k] if a[k] >= low_a else 0.0
        all_b += b[k] if b[k] >= low_b else 0.0
        if a[k] >= low_a and b[k] >= low_b:
            count += 1
            aa += a[k] * a[k]
            bb += b[k] * b[k]
            ab += a[k] * b[k]
            both_a += a[k]
            both_b += b[k]
            ranked_a += a[k] * w[k]
            ranked_b += b[k] * w[k]
    if count > 0:
        out[0], out[1], out[2] = ab / np.sqrt(aa * bb), ab / aa, ab / bb
        out[3], out[4], out[5], out[6] = both_a / all_a, both_b / all_b, ranked_a / all_a, ranked_b / all_b


@kernel
def _above(a: NDArray[np.float64], b: NDArray[np.float64], low_a: float, low_b: float) -> tuple[float, float]:
    """Share of each channel's light above its threshold that lies where both are above theirs."""
    all_a = all_b = both_a = both_b = 0.0
    for k in range(a.size):
        all_a += a[k] if a[k] >= low_a else 0.0
        all_b += b[k] if b[k] >= low_b else 0.0
        if a[k] > low_a and b[k] > low_b:
            both_a += a[k]
            both_b += b[k]
    if all_a > 0 and all_b > 0:
        return both_a / all_a, both_b / all_b
    return np.nan, np.nan
