"""What may differ between two pictures of the same cells: crops, symmetries, noise, and pasted parts of others."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from pydantic import BaseModel, ConfigDict, Field

from phenostream.datasets.loading import Augmentation

if TYPE_CHECKING:
    from torch import Tensor


class ViewSettings(BaseModel):
    """How images are varied in training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    crop: int = Field(0, ge=0, description="side in px of the part that is seen at a time; 0: the whole site")
    turn: bool = Field(True, description="any of the eight symmetries of the square")
    multiply: float = Field(0.1, ge=0, description="standard deviation of the factor of each pixel, about 1")
    add: float = Field(0.1, ge=0, description="standard deviation of what is added, in units of the site's own")
    cutmix: float = Field(1.0, ge=0, description="Beta parameter of the share that is pasted over; 0: never")
    cutmix_share: float = Field(0.5, ge=0, le=1, description="share of batches into which others are pasted")

    def cut(self, shape: tuple[int, int, int]) -> Augmentation:
        """What the loader does to sites (C, Y, X): a part, turned at random; a side shorter than the crop stays whole.

        Sites that are no square, once cut, are mirrored and turned by half a circle.
        """
        y, x = (min(self.crop or length, length) for length in shape[1:])
        return Augmentation(crop=(y, x), mirror=self.turn, turn=self.turn)


def forgotten(told: Tensor, conditions: int, share: float) -> Tensor:
    """What is told (N, told), its first `conditions` numbers 0 for about a `share` of the images."""
    known = torch.rand(len(told), 1, device=told.device) >= share
    return torch.cat([told[:, :conditions] * known, told[:, conditions:]], dim=1)


def noisy(image: Tensor, settings: ViewSettings) -> Tensor:
    """Normalised images with noise of each pixel."""
    if settings.multiply:
        image = image * (1 + settings.multiply * torch.randn_like(image))
    return image + settings.add * torch.randn_like(image) if settings.add else image


def cutmix(image: Tensor, settings: ViewSettings) -> tuple[Tensor, Tensor, float]:
    """Paste one rectangle of other images of the batch into each (Yun et al. 2019, arXiv:1905.04899).

    Args:
        image: (N, C, Y, X).
        settings: how often, and how large.

    Returns:
        The images, the place in the batch of each one's partner, and the share of each that is its own, counted in
        pixels. At least half is, so that the first label is always that of the larger part.
    """
    count = len(image)
    partner = torch.arange(count, device=image.device)
    if not settings.cutmix or float(torch.rand(())) >= settings.cutmix_share:
        return image, partner, 1.0
    parameter = torch.tensor(settings.cutmix)
    pasted = float(torch.distributions.Beta(parameter, parameter).sample())
    pasted = min(pasted, 1 - pasted)
    rows, columns = image.shape[2:]
    height, width = (round(length * math.sqrt(pasted)) for length in (rows, columns))
    y, x = (int(torch.randint(length - side + 1, ())) for length, side in ((rows, height), (columns, width)))
    partner = torch.randperm(count).to(image.device)
    mixed = image.clone()
    mixed[:, :, y : y + height, x : x + width] = image[partner, :, y : y + height, x : x + width]
    return mixed, partner, 1 - height * width / (rows * columns)
