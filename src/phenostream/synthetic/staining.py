"""Six-channel pictures of cells as Cell Painting stains them: soft shapes, textures, and nothing of a camera yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

# Size (px) and contrast of each channel's texture: fine in Mito and RNA, coarse in ER and Actin.
_TEXTURES: Final = ((1.2, 0.12), (1.6, 0.25), (2.0, 0.25), (1.0, 0.25), (0.8, 0.35), (1.2, 0.2))


@dataclass(frozen=True, slots=True, eq=False)
class Effect:
    """What a perturbation does, as factors: 1 is nothing.

    Attributes:
        count: of cells.
        size: of nuclei.
        elongation: of cell bodies.
        level: (6,) of the light of each channel.
        grain: (6,) of the contrast of each channel's texture.
    """

    count: float
    size: float
    elongation: float
    level: NDArray[np.float64]
    grain: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class StainedCells:
    """Cells of one field.

    Attributes:
        centre: (N, 2) as (y, x), px.
        radius: (N,) of the nuclei, px.
        angle: (N,) of the long axes.
        elongation: long over short axis of the bodies.
        left: share of the light that is left.
    """

    centre: Array
    radius: Array
    angle: Array
    elongation: float
    left: float


def stained(rng: np.random.Generator, cells: StainedCells, shape: tuple[int, int], effect: Effect) -> Array:
    """(6, Y, X) light of the channels at unit gain: about 1 inside of a cell."""
    nucleus, body, rim, golgi = _shapes(cells, shape)
    grain = _grains(rng, shape, effect.grain)
    cytoplasm = body * (1 - 0.7 * nucleus)
    layers = np.stack(
        [
            nucleus,
            cytoplasm,
            0.4 * body + 1.3 * rim,
            0.45 * body + 0.9 * nucleus,
            cytoplasm,
            0.3 * body + 0.5 * rim + 1.6 * golgi,
        ]
    )
    light = layers * grain * effect.level.astype(np.float32)[:, None, None] * np.float32(cells.left)
    return np.asarray(ndimage.gaussian_filter(light, (0, 0.7, 0.7)), np.float32)


def _shapes(cells: StainedCells, shape: tuple[int, int]) -> tuple[Array, Array, Array, Array]:
    """Soft masks (Y, X) of nuclei, bodies, the bodies' rims, and the Golgi beside each nucleus."""
    masks = np.zeros((4, *shape), np.float32)
    stretch = float(np.sqrt(cells.elongation))
    for centre, radius, angle in zip(cells.centre, cells.radius, cells.angle, strict=True):
        # Further out, a soft edge is below a thousandth: a cell costs the same on a field of any size.
        reach = 4.0 * float(radius) * stretch
        rows, columns = (
            slice(max(0, int(at - reach)), min(size, int(at + reach) + 2))
            for at, size in zip(centre, shape, strict=True)
        )
        window = masks[:, rows, columns]
        y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] - centre[0]
        x = np.arange(columns.start, columns.stop, dtype=np.float32)[None, :] - centre[1]
        np.maximum(window, _cell(y, x, float(radius), float(angle), stretch), out=window)
    return masks[0], masks[1], masks[2], masks[3]


def _cell(y: Array, x: Array, radius: float, angle: float, stretch: float) -> Array:
    """The four masks of one cell around its own centre."""
    along = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
    across = y * np.float32(np.cos(angle)) - x * np.float32(np.sin(angle))
    near = np.hypot(along / 1.15, across * 1.15) / radius
    far = np.hypot(along / stretch, across * stretch) / (2.1 * radius)
    beside = ((along - 1.2 * radius) ** 2 + across**2) / (0.6 * radius) ** 2
    rim = np.exp(-(((far - 0.9) / 0.12) ** 2))
    return np.stack([_soft((1 - near) * 3), _soft((1 - far) * 4), rim, np.exp(-beside)]).astype(np.float32)


def _soft(value: NDArray[np.floating]) -> Array:
    return np.asarray(1 / (1 + np.exp(-2 * np.clip(value, -12, 12))), np.float32)


def _grains(rng: np.random.Generator, shape: tuple[int, int], contrast: NDArray[np.float64]) -> Array:
    """(6, Y, X) textures of mean 1."""
    noise = rng.standard_normal((len(contrast), *shape), np.float32)
    for plane, (sigma, strength), factor in zip(noise, _TEXTURES, contrast, strict=True):
        smooth = ndimage.gaussian_filter(plane, sigma)
        plane[:] = np.maximum(1 + strength * factor * smooth / smooth.std(), 0.05)
    return noise
