"""The microscope between the cells and the file: blur, vignetting, camera offset and noise, all of them known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Optics:
    """How light becomes an image.

    Attributes:
        blur: standard deviation of the point spread, px.
        defocus: further blur of a field that is out of focus, px.
        haze: share of the light that is spread over a wide halo.
        background: light where there is no cell, as a share of an average nucleus.
        vignetting: loss of light from the brightest place to the corners (0.4: the corners keep about 60 %).
        tilt: the bright place lies off centre by this share of the half width (x) and half height (y).
    """

    blur: float = 1.1
    defocus: float = 0.0
    haze: float = 0.10
    background: float = 0.05
    vignetting: float = 0.3
    tilt: tuple[float, float] = (0.15, -0.1)

    def flatfield(self, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Relative brightness (Y, X) of an evenly lit field; mean 1."""
        y, x = (np.linspace(-1, 1, size, dtype=np.float32) for size in shape)
        distance = (x[None, :] - self.tilt[0]) ** 2 + (y[:, None] - self.tilt[1]) ** 2
        light = 1 - self.vignetting * distance / 2
        light = np.maximum(light, 0.05)
        return np.asarray(light / light.mean(), np.float32)


@dataclass(frozen=True, slots=True)
class Camera:
    """What the camera adds.

    Attributes:
        bits: 8 or 16, the type of the pixels.
        signal: grey levels of an average nucleus above the offset; 0: 3000 for 16 bits, 90 for 8.
        offset: grey levels without light; negative: 100 for 16 bits, 4 for 8.
        gain: grey levels an electron; 0: 2 for 16 bits, 0.1 for 8.
        read_noise: standard deviation without light, grey levels; negative: 6 for 16 bits, 0.6 for 8.
    """

    bits: int = 16
    signal: float = 0.0
    offset: float = -1.0
    gain: float = 0.0
    read_noise: float = -1.0

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels: uint8 or uint16."""
        return np.dtype(np.uint8 if self.bits == 8 else np.uint16)

    def level(self) -> float:
        """Grey levels of an average nucleus above the offset."""
        return self.signal or (90.0 if self.bits == 8 else 3000.0)

    def darkfield(self, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Mean grey levels (Y, X) without light: the offset, and a glow of a tenth of it along one edge."""
        offset = self.offset if self.offset >= 0 else (4.0 if self.bits == 8 else 100.0)
        glow = np.exp(-np.arange(shape[0], dtype=np.float32) / max(shape[0] / 8, 1))
        return np.asarray(offset * (1 + 0.1 * np.broadcast_to(glow[:, None], shape)), np.float32)

    def expose(
        self, light: NDArray[np.float32], darkfield: NDArray[np.float32], rng: np.random.Generator
    ) -> NDArray[Any]:
        """The file's pixels for `light` (Y, X; mean grey levels above `darkfield`): shot and read noise, rounded."""
        gain = self.gain or (0.1 if self.bits == 8 else 2.0)
        noise = self.read_noise if self.read_noise >= 0 else (0.6 if self.bits == 8 else 6.0)
        counts = rng.poisson(np.maximum(light, 0) * np.float32(1 / gain)).astype(np.float32)
        counts *= np.float32(gain)
        counts += darkfield
        counts += np.float32(noise) * rng.standard_normal(light.shape, np.float32)
        np.rint(counts, out=counts)
        return np.clip(counts, 0, np.iinfo(self.dtype).max).astype(self.dtype)


def blurred(light: NDArray[np.float32], optics: Optics) -> NDArray[np.float32]:
    """`light` (Y, X) as the objective passes it on: point spread, defocus, and a wide halo at a quarter of the size."""
    sharp = ndimage.gaussian_filter(light, float(np.hypot(optics.blur, optics.defocus)), truncate=3)
    if optics.haze <= 0:
        return np.asarray(sharp, np.float32)
    return np.asarray((1 - optics.haze) * sharp + optics.haze * halo(light, 14.0), np.float32)


def halo(light: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """`light` (Y, X) under a wide Gaussian, computed on every fourth pixel of a smoothed copy."""
    height, width = light.shape
    small = light[: height // 4 * 4, : width // 4 * 4].reshape(height // 4, 4, width // 4, 4).mean(axis=(1, 3))
    small = ndimage.gaussian_filter(small, sigma / 4, mode="nearest")
    rows = np.clip((np.arange(height) - 1.5) / 4, 0, small.shape[0] - 1)
    columns = np.clip((np.arange(width) - 1.5) / 4, 0, small.shape[1] - 1)
    return _bilinear(small, rows, columns)


def _bilinear(small: NDArray[np.float32], rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[np.float32]:
    top, left = (np.minimum(at.astype(int), size - 2) if size > 1 else at.astype(int) for at, size in
                 ((rows, small.shape[0]), (columns, small.shape[1])))  # fmt: skip
    bottom, right = np.minimum(top + 1, small.shape[0] - 1), np.minimum(left + 1, small.shape[1] - 1)
    down = (rows - top).astype(np.float32)[:, None]
    across = (columns - left).astype(np.float32)[None, :]
    between = small[top] * (1 - down) + small[bottom] * down
    return np.asarray(between[:, left] * (1 - across) + between[:, right] * across, np.float32)
