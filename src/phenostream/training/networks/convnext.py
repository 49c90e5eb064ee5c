"""ConvNeXt (Liu et al. 2022, arXiv:2201.03545) for images of any number of channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn import functional

from phenostream.training.networks._pooling import over_grid

if TYPE_CHECKING:
    from torch import Tensor

# Blocks and channels of each stage: tiny and small as in the paper, the others of the family of its second version
# (Woo et al. 2023, arXiv:2301.00808, appendix A).
_SIZES = {
    "atto": ((2, 2, 6, 2), (40, 80, 160, 320)),
    "femto": ((2, 2, 6, 2), (48, 96, 192, 384)),
    "pico": ((2, 2, 6, 2), (64, 128, 256, 512)),
    "nano": ((2, 2, 8, 2), (80, 160, 320, 640)),
    "tiny": ((3, 3, 9, 3), (96, 192, 384, 768)),
    "small": ((3, 3, 27, 3), (96, 192, 384, 768)),
}
_EPSILON = 1e-6
_SCALE = 1e-6


class Settings(BaseModel):
    """Shape of the network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: Literal["atto", "femto", "pico", "nano", "tiny", "small"] = Field("nano", description="of the family")
    patch: int = Field(4, ge=1, le=8, description="pixels a side that the stem makes one; the paper's 4")
    drop: float = Field(0.1, ge=0, lt=1, description="largest share of images for which a block is left out")


def backbone(channels: int, settings: Settings) -> ConvNeXt:
    """The network of `settings` for images of `channels` channels, with fresh weights."""
    return ConvNeXt(channels, settings)


class ConvNeXt(nn.Module):
    """Images to the normalised mean over the grid of the last stage.

    Attributes:
        width: numbers that come out.
    """

    def __init__(self, channels: int, settings: Settings | None = None) -> None:
        """Draw fresh weights."""
        super().__init__()
        told = settings or Settings()
        depths, widths = _SIZES[told.size]
        drops = iter(torch.linspace(0, told.drop, sum(depths)).tolist())
        stages: list[nn.Module] = []
        for number, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            stages += [Stem(channels, width, told.patch)] if not number else [Halved(widths[number - 1], width)]
            stages += [Block(width, next(drops)) for _ in range(depth)]
        self.stages = nn.Sequential(*stages)
        self.width = widths[-1]
        self.norm = nn.LayerNorm(self.width, _EPSILON)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, image: Tensor) -> Tensor:
        """(N, channels, Y, X) to (N, width)."""
        seen: Tensor = self.norm(over_grid(self.stages(image)))
        return seen


class Stem(nn.Module):
    """Patches to channels, normalised."""

    def __init__(self, channels: int, width: int, patch: int) -> None:
        """Make one for patches of `patch` pixels a side."""
        super().__init__()
        self.convolution = nn.Conv2d(channels, width, patch, patch)
        self.norm = Across(width)

    def forward(self, image: Tensor) -> Tensor:
        """(N, channels, Y, X) to (N, width, Y / patch, X / patch)."""
        seen: Tensor = self.norm(self.convolution(image))
        return seen


class Halved(nn.Module):
    """The grid between two stages, halved."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Make one."""
        super().__init__()
        self.norm = Across(inputs)
        self.convolution = nn.Conv2d(inputs, outputs, 2, 2)

    def forward(self, image: Tensor) -> Tensor:
        """(N, inputs, Y, X) to (N, outputs, Y / 2, X / 2)."""
        seen: Tensor = self.convolution(self.norm(image))
        return seen


class Across(nn.LayerNorm):
    """Layer normalisation over the channels of every pixel."""

    def __init__(self, width: int) -> None:
        """Make one."""
        super().__init__(width, _EPSILON)

    def forward(self, image: Tensor) -> Tensor:
        """(N, C, Y, X) to the same shape."""
        return super().forward(image.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """A depthwise 7x7 convolution and a perceptron of each pixel, scaled, beside the identity."""

    def __init__(self, width: int, drop: float) -> None:
        """Make one that is left out for a share `drop` of the images in training (Huang et al. 2016)."""
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, _EPSILON)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.full((width,), _SCALE))
        self.drop = drop

    def forward(self, image: Tensor) -> Tensor:
        """(N, width, Y, X) to the same shape."""
        seen = self.norm(self.depthwise(image).permute(0, 2, 3, 1))
        seen = self.scale * self.narrow(functional.gelu(self.widen(seen)))
        return image + self._kept(seen.permute(0, 3, 1, 2))

    def _kept(self, seen: Tensor) -> Tensor:
        if not (self.training and self.drop):
            return seen
        kept = torch.rand(len(seen), 1, 1, 1, device=seen.device) >= self.drop
        return seen * kept / (1 - self.drop)
