"""A small residual network for crops of 64 pixels with one object in the middle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

#: Side of the crops in pixels.
SIDE = 64


class Settings(BaseModel):
    """Shape of the network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    widths: tuple[int, ...] = Field(
        (16, 48, 96, 192), min_length=2, description="channels of the stem and of each stage"
    )
    depths: tuple[int, ...] = Field((1, 2, 2), min_length=1, description="blocks of each stage")


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al. 2016) that averages where it halves the grid (2019)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        """Make a block that divides the grid by `stride`."""
        super().__init__()
        self.first = _convolution(inputs, outputs, 3, stride)
        self.second = _convolution(outputs, outputs, 3, 1)
        shortcut: list[nn.Module] = [nn.AvgPool2d(stride)] if stride > 1 else []
        self.shortcut = nn.Sequential(*shortcut, *([_convolution(inputs, outputs, 1, 1)] if inputs != outputs else []))

    def forward(self, image: Tensor) -> Tensor:
        """(N, inputs, Y, X) to (N, outputs, Y / stride, X / stride)."""
        inner = self.second(functional.relu(self.first(image)))
        return functional.relu(inner + self.shortcut(image))


class CellNet(nn.Module):
    """Crops to features: a strided stem, stages that each halve the grid, and the mean over what is left of it.

    Every crop is first scaled between its least and largest pixel, so that gain and offset of the camera do not matter.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        """Draw fresh weights."""
        super().__init__()
        told = settings or Settings()
        self.width = told.widths[-1]
        self.stem = _convolution(1, told.widths[0], 5, 2)
        stages = zip(told.widths, told.widths[1:], told.depths, strict=False)
        self.stages = nn.Sequential(
            *(
                Block(inputs if place == 0 else outputs, outputs, 2 if place == 0 else 1)
                for inputs, outputs, depth in stages
                for place in range(depth)
            )
        )

    def forward(self, crops: Tensor) -> Tensor:
        """(N, 1, Y, X) to (N, width)."""
        return self.trunk(scaled(crops))

    def trunk(self, image: Tensor) -> Tensor:
        """The same for crops that lie between -1 and 1 already."""
        seen: Tensor = self.stages(functional.relu(self.stem(image)))
        return seen.mean((2, 3))


class Described(nn.Module):
    """What a package holds: the mean over some symmetries of the square, then the logarithms of range and mean.

    The trunk is blind to gain and offset; the two last numbers tell of them where crops come on a common scale.
    """

    def __init__(self, network: CellNet, views: int = 1) -> None:
        """Take the trunk of `network`, seen `views` times (1, 2, 4 or 8)."""
        super().__init__()
        self.network, self.views = network, views

    def forward(self, crops: Tensor) -> Tensor:
        """(N, 1, Y, X) to (N, width + 2)."""
        image = scaled(crops)
        seen = self.network.trunk(image)
        for turned in turns(image)[1 : self.views]:
            seen = seen + self.network.trunk(turned)
        low, high = crops.amin((1, 2, 3)), crops.amax((1, 2, 3))
        levels = torch.stack([high - low, crops.mean((1, 2, 3)) - low], dim=1)
        return torch.cat([seen / self.views, torch.log(levels + 1e-3)], dim=1)


def scaled(crops: Tensor) -> Tensor:
    """(N, C, Y, X) with every crop between -1 and 1; a flat crop gives -1."""
    low, high = crops.amin((1, 2, 3), keepdim=True), crops.amax((1, 2, 3), keepdim=True)
    span = high - low
    return (crops - low) / torch.where(span > 0, span, torch.ones_like(span)) * 2 - 1


def turns(image: Tensor) -> list[Tensor]:
    """The eight symmetries of the square, so ordered that the first 2, 4 and 8 are groups."""
    half = image.flip((2, 3))
    pair = [image, half]
    four = [*pair, *(one.flip(3) for one in pair)]
    return [*four, *(one.transpose(2, 3) for one in four)]


def _convolution(inputs: int, outputs: int, size: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs))
