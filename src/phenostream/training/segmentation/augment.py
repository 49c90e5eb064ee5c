"""Other microscopes than those that took the training images: magnification, light, camera, noise.

Geometry is a random similarity with a little stretch. Photometry never looks at the target. Images are torch tensors
(1, Y, X) in the units of :func:`phenostream.objects.trained.stretched`; every random choice comes from `rng`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


def cut(
    image: Tensor, maps: Tensor, side: int, rng: np.random.Generator, around: tuple[float, float] | None = None
) -> tuple[Tensor, Tensor]:
    """The same randomly turned, mirrored and scaled window of `image` (1, Y, X) and `maps` (C, Y, X) uint8.

    Args:
        image: intensities.
        maps: 0 to 255.
        side: of the window in pixels.
        rng: the only source of chance.
        around: a place (y, x) that lies in the window, though seldom in its middle; anywhere when None.

    Returns:
        (1, side, side) float32 and (C, side, side) float32 of 0 to 1. Beyond the border both are mirrored.
    """
    scale = min(max(math.exp(rng.normal(0, 0.22)), 0.5), 2.0)
    stretch = math.exp(rng.normal(0, 0.06))
    half = side / scale / 2
    near = (None, None) if around is None else around
    middle = [_place(length, half, rng, one) for length, one in zip(image.shape[1:], near, strict=True)]
    # Only what can be seen is converted and sampled.
    reach = math.ceil(1.5 * half * max(stretch, 1 / stretch)) + 2
    low = [max(0, int(one) - reach) for one in middle]
    seen = (slice(None), *(slice(first, int(one) + reach) for first, one in zip(low, middle, strict=True)))
    grid = _grid(image[seen], (middle[0] - low[0], middle[1] - low[1]), side, (scale * stretch, scale / stretch), rng)
    told: dict[str, Any] = {"mode": "bilinear", "padding_mode": "reflection", "align_corners": False}
    window = functional.grid_sample(image[seen][None], grid, **told)[0]
    return window, functional.grid_sample(maps[seen][None].float() / 255, grid, **told)[0]


def _grid(
    image: Tensor, middle: tuple[float, float], side: int, scales: tuple[float, float], rng: np.random.Generator
) -> Tensor:
    """Where in `image` the pixels of the window lie, turned and mirrored at random."""
    _, rows, columns = image.shape
    turn = rng.uniform(0, 2 * math.pi) if rng.random() < 0.3 else math.pi / 2 * int(rng.integers(4))
    along, across = (-1 if rng.random() < 0.5 else 1) / scales[0], 1 / scales[1]
    cosine, sine = math.cos(turn), math.sin(turn)
    affine = [
        [cosine * along * side / columns, -sine * across * side / columns, 2 * middle[1] / columns - 1],
        [sine * along * side / rows, cosine * across * side / rows, 2 * middle[0] / rows - 1],
    ]
    return functional.affine_grid(torch.tensor([affine]), [1, 1, side, side], align_corners=False)


def _place(length: int, half: float, rng: np.random.Generator, near: float | None) -> float:
    """Where the middle of a window of twice `half` lies, so that it stays in the image where it can."""
    low, high = min(half, length / 2), max(length - half, length / 2)
    wanted = rng.uniform(low, high) if near is None else near + half * rng.uniform(-0.8, 0.8)
    return float(min(max(wanted, low), high))


def photograph(image: Tensor, rng: np.random.Generator) -> Tensor:
    """`image` (1, Y, X) as another instrument might have taken it; every other one almost as it was."""
    if rng.random() < 0.5:
        return image * math.exp(rng.normal(0, 0.1))
    for share, change in _CHANGES:
        if rng.random() < share:
            image = change(image, rng)
    return image * math.exp(rng.normal(0, 0.15)) + rng.normal(0, 0.02)


def grainy(image: NDArray[Any], rng: np.random.Generator) -> NDArray[np.float64]:
    """`image` (Y, X) with photon noise of 0.3 to 13 % of its range where it is brightest."""
    low, high = np.percentile(image, (1, 99.8))
    light = (image - low) / max(high - low, 1e-9)
    noise = 10 ** rng.uniform(-2.5, -0.9) * np.sqrt(np.clip(light, 0, None) + 0.1)
    return np.asarray(light + noise * rng.standard_normal(image.shape), np.float64)


def nothing(side: int, rng: np.random.Generator) -> Tensor:
    """Noise, alone or on a glow, stretched as images are: (1, side, side) in which no object is to be found."""
    noise = _noise(side, rng)
    if rng.random() < 0.5:
        noise = blurred(noise, rng.uniform(0.5, 1.5))
    glow = rng.uniform(0, 2) * smooth_field(side, int(rng.integers(2, 5)), rng)
    image = noise + glow
    low, high = (float(value) for value in image.flatten().quantile(torch.tensor([0.01, 0.998])))
    return (image - low) / (high - low)


def blurred(image: Tensor, width: float) -> Tensor:
    """`image` (1, Y, X) after a Gaussian of deviation `width` pixels, mirrored at the border."""
    reach = max(1, int(3 * width + 0.5))
    kernel = torch.exp(-(torch.arange(-reach, reach + 1).float() ** 2) / (2 * width * width))
    kernel = kernel / kernel.sum()
    padded = functional.pad(image[None], (reach, reach, reach, reach), mode="reflect")
    columns = functional.conv2d(padded, kernel[None, None, :, None])
    return functional.conv2d(columns, kernel[None, None, None])[0]


def smooth_field(side: int, knots: int, rng: np.random.Generator) -> Tensor:
    """A random surface (1, side, side) through normal deviates on `knots` x `knots` points."""
    values = torch.from_numpy(rng.normal(size=(1, 1, knots, knots))).float()
    return functional.interpolate(values, size=(side, side), mode="bicubic", align_corners=True)[0]


def _noise(side: int, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.standard_normal((1, side, side), dtype="float32"))


def _blur(image: Tensor, rng: np.random.Generator) -> Tensor:
    return blurred(image, rng.uniform(0.4, 1.5))


def _coarse(image: Tensor, rng: np.random.Generator) -> Tensor:
    side = image.shape[-1]
    few = max(16, int(side / rng.uniform(1.4, 2.6)))
    small = functional.interpolate(image[None], size=(few, few), mode="bilinear", antialias=True)
    return functional.interpolate(small, size=(side, side), mode="bilinear")[0]


def _gamma(image: Tensor, rng: np.random.Generator) -> Tensor:
    low = min(float(image.min()), 0.0)
    return (image - low).clamp_min(0) ** math.exp(rng.normal(0, 0.18)) + low


def _vignette(image: Tensor, rng: np.random.Generator) -> Tensor:
    return image * (1 + 0.5 * smooth_field(image.shape[-1], int(rng.integers(2, 5)), rng).clamp(-1.2, 1.5))


def _glow(image: Tensor, rng: np.random.Generator) -> Tensor:
    strength = rng.uniform(0.05, 0.6)
    return (image + strength * smooth_field(image.shape[-1], int(rng.integers(2, 4)), rng).abs()) / (1 + strength / 2)


def _saturate(image: Tensor, rng: np.random.Generator) -> Tensor:
    return image.clamp_max(rng.uniform(0.4, 0.9))


def _grain(image: Tensor, rng: np.random.Generator) -> Tensor:
    noise = _noise(image.shape[-1], rng)
    if rng.random() < 0.3:
        noise = 2 * blurred(noise, rng.uniform(0.5, 1.2))
    if rng.random() < 0.6:  # photons: the deviation grows with the root of the light
        noise = noise * (image.clamp_min(0) + 0.1).sqrt()
    return image + 10 ** rng.uniform(-2.5, -0.9) * noise


_CHANGES = (
    (0.2, _blur),
    (0.12, _coarse),
    (0.4, _gamma),
    (0.2, _vignette),
    (0.2, _glow),
    (0.12, _saturate),
    (0.4, _grain),
)
