"""Residual networks (He et al. 2016, arXiv:1512.03385) for images of any number of channels.

Of the first version: the activation comes last in a block. The stride of a bottleneck is that of its 3x3 convolution,
as in later use of the network (Goyal et al. 2017); the numbers of weights are those of the paper's table 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn import functional

from phenostream.training.networks._pooling import over_grid

if TYPE_CHECKING:
    from torch import Tensor

_STAGES = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}


class Settings(BaseModel):
    """Shape of the network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    depth: Literal[18, 34, 50, 101, 152, 200] = Field(50, description="layers; from 50 on with bottlenecks")
    width: int = Field(64, ge=4, description="channels of the stem and the first stage; the paper's 64")
    stem: Literal["paper", "small"] = Field(
        "paper", description="paper: divides the grid by 4 before the first stage; small: by 2, for fields under 100 px"
    )


def backbone(channels: int, settings: Settings) -> ResNet:
    """The network of `settings` for images of `channels` channels, with fresh weights."""
    return ResNet(channels, settings)


class ResNet(nn.Module):
    """Images to the mean over the grid of the last stage.

    Attributes:
        width: numbers that come out.
    """

    def __init__(self, channels: int, settings: Settings | None = None) -> None:
        """Draw fresh weights: normal with the variance of He et al. (2015); each block begins as its shortcut."""
        super().__init__()
        told = settings or Settings()
        block = Bottleneck if told.depth >= 50 else Basic
        kernel = 7 if told.stem == "paper" else 3
        self.stem = _convolution(channels, told.width, kernel, stride=2)
        self.pool = nn.MaxPool2d(3, 2, 1) if told.stem == "paper" else nn.Identity()
        stages: list[nn.Module] = []
        inputs = told.width
        for number, repeats in enumerate(_STAGES[told.depth]):
            inner = told.width * 2**number
            for place in range(repeats):
                stages.append(block(inputs, inner, stride=2 if number and not place else 1))
                inputs = inner * block.expansion
        self.stages = nn.Sequential(*stages)
        self.width = inputs
        _begin(self)

    def forward(self, image: Tensor) -> Tensor:
        """(N, channels, Y, X) to (N, width)."""
        seen: Tensor = self.stages(self.pool(functional.relu(self.stem(image))))
        return over_grid(seen)


class Basic(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, inner: int, *, stride: int) -> None:
        """Make a block that divides the grid by `stride`."""
        super().__init__()
        self.inner = nn.Sequential(_convolution(inputs, inner, 3, stride=stride), nn.ReLU())
        self.last = _convolution(inner, inner, 3)
        self.shortcut = _shortcut(inputs, inner, stride)

    @property
    def norm(self) -> nn.BatchNorm2d:
        """The last normalisation."""
        return cast("nn.BatchNorm2d", self.last[1])

    def forward(self, image: Tensor) -> Tensor:
        """(N, inputs, Y, X) to (N, inner, Y / stride, X / stride)."""
        return functional.relu(self.last(self.inner(image)) + self.shortcut(image))


class Bottleneck(nn.Module):
    """A 3x3 convolution between two of 1x1 that narrow and widen, beside a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, inner: int, *, stride: int) -> None:
        """Make a block that divides the grid by `stride`."""
        super().__init__()
        self.inner = nn.Sequential(
            _convolution(inputs, inner, 1), nn.ReLU(), _convolution(inner, inner, 3, stride=stride), nn.ReLU()
        )
        self.last = _convolution(inner, 4 * inner, 1)
        self.shortcut = _shortcut(inputs, 4 * inner, stride)

    @property
    def norm(self) -> nn.BatchNorm2d:
        """The last normalisation."""
        return cast("nn.BatchNorm2d", self.last[1])

    def forward(self, image: Tensor) -> Tensor:
        """(N, inputs, Y, X) to (N, 4 inner, Y / stride, X / stride)."""
        return functional.relu(self.last(self.inner(image)) + self.shortcut(image))


def _convolution(inputs: int, outputs: int, size: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    return nn.Identity() if stride == 1 and inputs == outputs else _convolution(inputs, outputs, 1, stride=stride)


def _begin(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    for module in network.modules():
        if isinstance(module, Basic | Bottleneck):
            nn.init.zeros_(module.norm.weight)
