"""EfficientNet (Tan and Le 2019, arXiv:1905.11946) for images of any number of channels.

Modules are named after the TensorFlow original's layers, so that a file of its weights can be laid over the network by
name. Padding is the original's, or the same on both sides, which suits weights of one's own: a grid of any size then
leaves the graph as it is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn import functional

from phenostream.training.networks._pooling import over_grid

if TYPE_CHECKING:
    from torch import Tensor

#: What the original's batch normalisation adds to the variance.
_EPSILON = 1e-3
#: Block groups of B0: expansion, output channels, repeats, stride, kernel (table 1 of the paper).
_B0 = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
       (6, 320, 1, 1, 3))  # fmt: skip
#: Width and depth beside B0's (the authors' published code; resolutions are the images' own here).
_SIZES = {"b0": (1.0, 1.0), "b1": (1.0, 1.1), "b2": (1.1, 1.2), "b3": (1.2, 1.4), "b4": (1.4, 1.8)}
#: Channels of the last convolution of B0.
WIDTH = 1280
_STEM = 32
Padding = Literal["tensorflow", "even"]


class Settings(BaseModel):
    """Shape of the network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: Literal["b0", "b1", "b2", "b3", "b4"] = Field("b0", description="of the family")
    stem: Literal["paper", "small"] = Field(
        "paper", description="paper: halves the grid; small: does not, for fields under 100 px"
    )
    drop: float = Field(0.2, ge=0, lt=1, description="largest share of images for which a block is left out")


def backbone(channels: int, settings: Settings) -> EfficientNet:
    """The network of `settings` for images of `channels` channels, with fresh weights."""
    return EfficientNet(channels, settings, padding="even")


class Shape(NamedTuple):
    """Shape of one block."""

    inputs: int
    expansion: int
    outputs: int
    stride: int
    kernel: int


def shapes(size: str = "b0") -> dict[str, Shape]:
    """The blocks of a network by the original's names, ``block1a`` to ``block7a`` of B0, in order."""
    width, depth = _SIZES[size]
    found: dict[str, Shape] = {}
    inputs = widened(_STEM, width)
    for group, (expansion, channels, repeats, stride, kernel) in enumerate(_B0, start=1):
        outputs = widened(channels, width)
        for place in range(math.ceil(depth * repeats)):
            found[f"block{group}{chr(ord('a') + place)}"] = Shape(
                inputs, expansion, outputs, 1 if place else stride, kernel
            )
            inputs = outputs
    return found


def widened(channels: int, factor: float) -> int:
    """Channels times a factor, as a multiple of eight that is not more than a tenth below."""
    wanted = channels * factor
    near = max(8, int(wanted + 4) // 8 * 8)
    return near + 8 if near < 0.9 * wanted else near


class EfficientNet(nn.Module):
    """Images to the mean over the grid of the last activation: (N, 3, Y, X) to (N, 1280) in B0 as published.

    Attributes:
        width: numbers that come out.
    """

    def __init__(self, channels: int = 3, settings: Settings | None = None, *, padding: Padding = "tensorflow") -> None:
        """Draw fresh weights: normal, by the outputs that each weight reaches; B0 where `settings` are not given."""
        super().__init__()
        told = settings or Settings(drop=0)
        blocks = shapes(told.size)
        drops = [told.drop * number / len(blocks) for number in range(len(blocks))]
        first, last = (one[1] for one in (min(blocks.items()), max(blocks.items())))
        self.width = widened(WIDTH, _SIZES[told.size][0])
        self.stem_conv = Same(channels, first.inputs, 3, 2 if told.stem == "paper" else 1, padding=padding)
        self.stem_bn = _norm(first.inputs)
        self.blocks = nn.ModuleDict(
            {name: Block(shape, drop, padding) for (name, shape), drop in zip(blocks.items(), drops, strict=True)}
        )
        self.top_conv = Same(last.outputs, self.width, 1, 1)
        self.top_bn = _norm(self.width)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                _begin(module)

    def forward(self, image: Tensor) -> Tensor:
        """(N, channels, Y, X) to (N, width)."""
        seen = functional.silu(self.stem_bn(self.stem_conv(image)))
        for block in self.blocks.values():
            seen = block(seen)
        return over_grid(functional.silu(self.top_bn(self.top_conv(seen))))


class Block(nn.Module):
    """An inverted residual with squeeze and excitation."""

    def __init__(self, shape: Shape, drop: float = 0.0, padding: Padding = "tensorflow") -> None:
        """Make a block of `shape` that is left out for a share `drop` of the images in training."""
        super().__init__()
        inner = shape.inputs * shape.expansion
        self.expands = shape.expansion > 1
        if self.expands:
            self.expand_conv = Same(shape.inputs, inner, 1, 1)
            self.expand_bn = _norm(inner)
        self.dwconv = Same(inner, inner, shape.kernel, shape.stride, groups=inner, padding=padding)
        self.bn = _norm(inner)
        squeezed = max(1, shape.inputs // 4)
        self.se_reduce = nn.Conv2d(inner, squeezed, 1)
        self.se_expand = nn.Conv2d(squeezed, inner, 1)
        self.project_conv = Same(inner, shape.outputs, 1, 1)
        self.project_bn = _norm(shape.outputs)
        self.skips = shape.stride == 1 and shape.inputs == shape.outputs
        self.drop = drop

    def forward(self, image: Tensor) -> Tensor:
        """(N, inputs, Y, X) to (N, outputs, Y / stride, X / stride), rounded up."""
        seen = functional.silu(self.expand_bn(self.expand_conv(image))) if self.expands else image
        seen = functional.silu(self.bn(self.dwconv(seen)))
        squeezed = functional.silu(self.se_reduce(over_grid(seen, keepdim=True)))
        seen = self.project_bn(self.project_conv(seen * self.se_expand(squeezed).sigmoid()))
        return image + self._kept(seen) if self.skips else seen

    def _kept(self, seen: Tensor) -> Tensor:
        """Stochastic depth (Huang et al. 2016): nothing of some images, more of the others."""
        if not (self.training and self.drop):
            return seen
        kept = torch.rand(len(seen), 1, 1, 1, device=seen.device) >= self.drop
        return seen * kept / (1 - self.drop)


class Same(nn.Module):
    """A convolution without bias whose output is the input over the stride, rounded up.

    TensorFlow gives the odd pixel of padding to the end, so that an even image under stride 2 is padded there alone;
    ``even`` pads both sides alike.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, *, groups: int = 1, padding: Padding = "tensorflow"
    ) -> None:
        """Make one."""
        super().__init__()
        even = kernel // 2 if padding == "even" or stride == 1 else 0
        self.ends = padding == "tensorflow" and stride > 1
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, even, groups=groups, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        """(N, inputs, Y, X) to (N, outputs, Y / stride, X / stride), rounded up."""
        return self.conv(functional.pad(image, self._missing(image)) if self.ends else image)  # type: ignore[no-any-return]

    def _missing(self, image: Tensor) -> list[int]:
        (kernel, _), (stride, _) = self.conv.kernel_size, self.conv.stride
        sides: list[int] = []
        for length in (image.shape[3], image.shape[2]):
            missing = max((-(-int(length) // stride) - 1) * stride + kernel - int(length), 0)
            sides += [missing // 2, missing - missing // 2]
        return sides


def _begin(convolution: nn.Conv2d) -> None:
    (rows, columns), reached = convolution.kernel_size, convolution.out_channels // convolution.groups
    nn.init.normal_(convolution.weight, std=math.sqrt(2 / (rows * columns * reached)))
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)


def _norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=_EPSILON)
