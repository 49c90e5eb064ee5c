"""Zernike moments of the shape: how an object fills its smallest enclosing circle.

Boland, Markey, Murphy (1998), Automated recognition of patterns characteristic of subcellular structures in
fluorescence microscopy images, Cytometry 33(3), 366-375. The magnitude is divided by the area of the circle.
"""

from __future__ import annotations

from math import factorial
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from phenostream.compiled import kernel
from phenostream.features.hulls import enclosing_circles
from phenostream.values import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from phenostream.features.scene import Scene

VERSION = 1
BY_OBJECT = True


class Settings(BaseModel):
    """Up to which degree."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    degree: int = Field(9, ge=0, le=20, description="Largest degree n of the polynomials; CellProfiler uses 9.")


def orders(degree: int) -> list[tuple[int, int]]:
    """All (n, m) with n <= degree, m <= n and n - m even, in CellProfiler's order."""
    return [(n, m) for n in range(degree + 1) for m in range(n % 2, n + 1, 2)]


def columns(settings: Settings, channels: Sequence[str]) -> list[Column]:  # noqa: ARG001
    """``AreaShape_Zernike_n_m`` for n up to the degree, m <= n, n - m even."""
    return [Column(f"AreaShape_Zernike_{n}_{m}", family="AreaShape", unit="1") for n, m in orders(settings.degree)]


def compute(scene: Scene, settings: Settings) -> NDArray[np.float64]:
    """The magnitudes (n, orders); NaN for a single pixel, whose circle has no radius."""
    real, imaginary, radii = moments(scene, None, settings.degree)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(real**2 + imaginary**2) / (np.pi * radii * radii)[:, None]


def moments(
    scene: Scene, weights: NDArray[np.float64] | None, degree: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Sums over each object's pixels of ``weight * V_nm``, real and imaginary (n, orders), and the circles' radii (n,).

    The polynomials are of the pixel's place relative to the smallest enclosing circle, ``z = y + ix``; pixels that
    rounding puts outside of the circle do not count, as in CellProfiler.
    """
    circles = enclosing_circles(*scene.hulls)
    shares = np.ones(0) if weights is None else weights
    index, radial = np.array(orders(degree), np.int64), _radial(degree)
    real, imaginary = _sums(*scene.places, scene.offsets, circles, shares, index, radial)
    return real, imaginary, circles[:, 2]


def _radial(degree: int) -> NDArray[np.float64]:
    """Coefficients of R_nm in r**(n-m), r**(n-m-2) ... 1, one row for each of `orders`; the factor r**m is in z**m."""
    table = np.zeros((len(orders(degree)), degree // 2 + 1))
    for row, (n, m) in enumerate(orders(degree)):
        for k in range((n - m) // 2 + 1):
            under = factorial(k) * factorial((n + m) // 2 - k) * factorial((n - m) // 2 - k)
            table[row, k] = (-1) ** k * (factorial(n - k) // under)
    return table


@kernel
def _sums(
    rows: NDArray[np.int32],
    cols: NDArray[np.int32],
    offsets: NDArray[np.int64],
    circles: NDArray[np.float64],
    weights: NDArray[np.float64],
    index: NDArray[np.int64],
    radial: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    n, count = offsets.size - 1, index.shape[0]
    real, imaginary = np.zeros((n, count)), np.zeros((n, count))
    for i in range(n):
        start, stop = offsets[i], offsets[i + 1]
        if circles[i, 2] == 0:
            real[i], imaginary[i] = np.nan, np.nan
            continue
        y = (rows[start:stop] - circles[i, 0]) / circles[i, 2]
        x = (cols[start:stop] - circles[i, 1]) / circles[i, 2]
        square = x * x + y * y
        a = weights[start:stop].copy() if weights.size > 0 else np.ones(stop - start)
        for k in range(a.size):
            if square[k] > 1:
                a[k] = 0.0
        b = np.zeros(a.size)
        for m in range(index[-1, 0] + 1):
            for c in range(count):
                if index[c, 1] == m:
                    terms = radial[c, : (index[c, 0] - m) // 2 + 1]
                    real[i, c], imaginary[i, c] = _weighed(terms, square, a, b)
            a, b = a * y - b * x, a * x + b * y
    return real, imaginary


@kernel
def _weighed(
    terms: NDArray[np.float64], square: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64]
) -> tuple[float, float]:
    """Sums of ``a * R`` and ``b * R`` with R the polynomial with coefficients `terms` in `square`.

    Eight pixels go side by side, each with a sum of its own: the processor's vectors, in an order that is always the
    same.
    """
    left, right = np.zeros(8), np.zeros(8)
    value = np.empty(8)
    whole = square.size - square.size % 8
    for k in range(0, whole, 8):
        for lane in range(8):
            value[lane] = terms[0]
        for j in range(1, terms.size):
            for lane in range(8):
                value[lane] = value[lane] * square[k + lane] + terms[j]
        for lane in range(8):
            left[lane] += value[lane] * a[k + lane]
            right[lane] += value[lane] * b[k + lane]
    for k in range(whole, square.size):
        rest = terms[0]
        for j in range(1, terms.size):
            rest = rest * square[k] + terms[j]
        left[0] += rest * a[k]
        right[0] += rest * b[k]
    return left.sum(), right.sum()
