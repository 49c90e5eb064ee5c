"""Views of a crop: what may differ between two pictures of the same object."""

from __future__ import annotations

import math

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional


class ViewSettings(BaseModel):
    """How much two views of one crop differ. Size and blur tell objects apart, so that they hardly change."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    zoom: float = Field(0.15, ge=0, lt=1, description="largest change of the logarithm of the scale")
    shift: float = Field(3, ge=0, description="largest shift in pixels")
    gamma: float = Field(0.45, ge=0, description="largest change of the logarithm of the exponent of intensities")
    stretch: float = Field(
        0.15, ge=0, lt=0.5, description="largest share of the intensities cut off above, 2/3 of it below"
    )
    noise: float = Field(0.04, ge=0, description="largest standard deviation of noise, of a range of 1")
    blur: float = Field(0.3, ge=0, le=1, description="share of views that are smoothed by one pixel")


def view(crops: Tensor, side: int, settings: ViewSettings) -> Tensor:
    """One random view of each crop, drawn from torch's global generator.

    Args:
        crops: (N, 1, S, S) float in 0..1.
        side: of the views in pixels, at the scale of the crops.
        settings: how much may change.

    Returns:
        (N, 1, side, side) float.
    """
    image = _turned(crops, side, settings)
    image = image.clamp_min(0) ** torch.exp(settings.gamma * _even(image))
    image = image / image.amax((1, 2, 3), keepdim=True).clamp_min(1e-6)
    top = 1 - settings.stretch * _share(image) * _sometimes(image, 0.5)
    bottom = 2 / 3 * settings.stretch * _share(image) * _sometimes(image, 0.5)
    image = ((image - bottom) / (top - bottom)).clamp(0, 1)
    image = image + settings.noise * _share(image) * torch.randn_like(image)
    smoothed = _sometimes(image, settings.blur)
    return smoothed * _smooth(image) + (1 - smoothed) * image


def _turned(crops: Tensor, side: int, settings: ViewSettings) -> Tensor:
    """Turned by any angle, mirrored at random, zoomed and shifted; the edge is mirrored where the crop ends."""
    count = len(crops)
    angle = math.pi * _even(crops).view(count)
    scale = torch.exp(settings.zoom * _even(crops).view(count)) * (side / crops.shape[-1])
    mirror = 1 - 2 * _sometimes(crops, 0.5).view(count)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    shift = (2 * torch.rand(count, 2, device=crops.device) - 1) * (2 * settings.shift / crops.shape[-1])
    rows = [torch.stack([mirror * cos, -sin, shift[:, 0]], 1), torch.stack([mirror * sin, cos, shift[:, 1]], 1)]
    grid = functional.affine_grid(torch.stack(rows, 1), [count, 1, side, side], align_corners=False)
    return functional.grid_sample(crops, grid, padding_mode="reflection", align_corners=False)


def _smooth(image: Tensor) -> Tensor:
    kernel = torch.tensor([0.25, 0.5, 0.25], device=image.device)
    padded = functional.pad(image, (1, 1, 1, 1), mode="reflect")
    return functional.conv2d(functional.conv2d(padded, kernel.view(1, 1, 1, 3)), kernel.view(1, 1, 3, 1))


def _share(like: Tensor) -> Tensor:
    return torch.rand(len(like), 1, 1, 1, device=like.device)


def _even(like: Tensor) -> Tensor:
    return 2 * _share(like) - 1


def _sometimes(like: Tensor, share: float) -> Tensor:
    return (_share(like) < share).float()
