"""Scattering coefficients of crops: texture at several scales and angles, whatever the cell's orientation.

Wavelet moduli of first and second order (Bruna and Mallat, IEEE TPAMI 35, 2013), averaged under round windows and
over the angle of the first wavelet, so that turning the cell changes little (Sifre and Mallat, CVPR 2013). Nothing is
learned, so there is nothing to leak between training and test cells.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import fft

from phenostream.errors import WrongShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: Octaves and angles of the wavelets; widths in pixels of the Gaussian windows, and one window over the whole crop.
SCALES, ANGLES, WINDOWS = 4, 8, (6.0, 14.0)
_CENTRE, _WIDTH, _SLANT = 3 * np.pi / 4, 0.8, 2.0
_TOGETHER = 32
_PAIRS = [(first, second) for first in range(SCALES) for second in range(first + 1, SCALES)]


def scattering_names() -> list[str]:
    """What :func:`scattering` gives, column by column."""
    windows = [f"w{int(width)}" for width in WINDOWS] + ["all"]
    turns = range(ANGLES // 2 + 1)
    return [
        *(f"Order1_Mean_{scale}_{window}" for scale in range(SCALES) for window in windows),
        *(f"Order1_Turn{turn}_{scale}_{window}" for scale in range(SCALES) for turn in (1, 2) for window in windows),
        *(f"Order2_Mean_{a}_{b}_{turn}_{window}" for a, b in _PAIRS for turn in turns for window in windows),
        *(f"Order2_Spread_{a}_{b}_{window}" for a, b in _PAIRS for window in windows),
    ]


def scattering(crops: NDArray[Any]) -> NDArray[np.float64]:
    """Logarithms of scattering coefficients, columns as :func:`scattering_names`.

    Each crop is brought to 0..1 by its minimum and its 99.5th percentile first, so gain and offset do not count.

    Args:
        crops: (N, Y, X), square, of one size.

    Raises:
        WrongShapeError: crops that are not square.
    """
    stack = np.asarray(crops)
    if stack.ndim != 3 or stack.shape[1] != stack.shape[2]:
        raise WrongShapeError(f"crops of shape {stack.shape}, not (N, side, side)")
    parts = [_scattered(_scaled(stack[start : start + _TOGETHER])) for start in range(0, len(stack), _TOGETHER)]
    return np.concatenate(parts) if parts else np.zeros((0, len(scattering_names())))


def _scaled(crops: NDArray[Any]) -> Floats:
    low = crops.min(axis=(1, 2), keepdims=True).astype(np.float64)
    high = np.percentile(crops, 99.5, axis=(1, 2), keepdims=True)
    span = high - low
    return np.asarray(np.clip((crops - low) / np.where(span > 0, span, 1), 0, 2))


def _scattered(crops: Floats) -> Floats:
    first, second = _coefficients(crops)
    count = len(crops)
    turned = np.abs(fft.rfft(first, axis=2))[:, :, 1:3]
    mean = second.mean(axis=2)
    # A wavelet and its mirror image tell the same: relative angles +a and -a are one.
    folded = np.stack([(mean[:, :, turn] + mean[:, :, -turn]) / 2 for turn in range(ANGLES // 2 + 1)], axis=2)
    spread = second.std(axis=2).mean(axis=2)
    parts = ((first.mean(axis=2), 1e-4), (turned, 1e-4), (folded, 1e-5), (spread, 1e-5))
    return np.concatenate([np.log(part.reshape(count, -1) + floor) for part, floor in parts], axis=1)


def _coefficients(crops: Floats) -> tuple[Floats, Floats]:
    """First order (n, scales, angles, windows), second order (n, pairs, angles, relative angles, windows)."""
    side = crops.shape[1]
    filters, windows = _filters(side), _windows(side)
    spectra = fft.fft2(crops)
    first = np.empty((len(crops), SCALES, ANGLES, len(windows)))
    second = np.empty((len(crops), len(_PAIRS), ANGLES, ANGLES, len(windows)))
    for scale in range(SCALES):
        for angle in range(ANGLES):
            modulus = np.abs(fft.ifft2(spectra * filters[scale, angle]))
            first[:, scale, angle] = _pooled(modulus, windows)
            again = fft.fft2(modulus)
            for place, (fine, coarse) in enumerate(_PAIRS):
                if fine == scale:
                    for other in range(ANGLES):
                        wave = np.abs(fft.ifft2(again * filters[coarse, other]))
                        second[:, place, angle, (other - angle) % ANGLES] = _pooled(wave, windows)
    return first, second


def _pooled(values: Floats, windows: Floats) -> Floats:
    return np.asarray(values.reshape(len(values), -1) @ windows.reshape(len(windows), -1).T)


@lru_cache(maxsize=4)
def _windows(side: int) -> Floats:
    line = np.arange(side) - (side - 1) / 2
    square = line[:, None] ** 2 + line[None] ** 2
    made = np.stack([np.exp(-square / (2 * width**2)) for width in WINDOWS] + [np.ones((side, side))])
    return np.asarray(made / made.sum(axis=(1, 2), keepdims=True))


@lru_cache(maxsize=4)
def _filters(side: int) -> Floats:
    """Morlet wavelets (scales, angles, side, side) in the frequency domain, folded into one period."""
    line = 2 * np.pi * fft.fftfreq(side)
    return np.stack([
        np.stack([_morlet(line, scale, np.pi * angle / ANGLES) for angle in range(ANGLES)]) for scale in range(SCALES)
    ])  # fmt: skip


def _morlet(line: Floats, scale: int, angle: float) -> Floats:
    wave, hump = np.zeros((len(line), len(line))), np.zeros((len(line), len(line)))
    width, centre = _WIDTH * 2**scale, _CENTRE / 2**scale
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            v, u = line[:, None] + 2 * np.pi * down, line[None] + 2 * np.pi * right
            along, across = u * np.cos(angle) + v * np.sin(angle), v * np.cos(angle) - u * np.sin(angle)
            wave += np.exp(-((along - centre) ** 2 + (_SLANT * across) ** 2) * width**2 / 2)
            hump += np.exp(-(along**2 + (_SLANT * across) ** 2) * width**2 / 2)
    # No response to a constant.
    return np.asarray(wave - hump * wave[0, 0] / hump[0, 0])
