"""A compact U-Net that sees and tells at full resolution but computes at half of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

STEP = 2  # pixels of the image that share one position inside


class UNet(nn.Module):
    """Maps (N, C, Y, X) -> (N, outputs, Y, X), Y and X multiples of :attr:`stride`.

    Attributes:
        stride: pixels; sides of the image are multiples of it.
        halo: pixels to each side that an output pixel can depend on.

    Ronneberger et al. 2015 (doi:10.1007/978-3-319-24574-4_28) with batch normalisation. The first convolution halves
    the resolution and the last one is shuffled back (Shi et al. 2016, doi:10.1109/CVPR.2016.207): four times less work
    than at full resolution, yet every pixel has an output of its own.
    """

    def __init__(self, *, inputs: int = 1, outputs: int = 3, widths: Sequence[int] = (32, 64, 96, 128)) -> None:
        """A network of ``len(widths)`` levels; ``widths`` are the channels of each, the finest first."""
        super().__init__()
        steps = [STEP * 2**level for level in range(len(widths))]
        self.stride = steps[-1]
        # Two convolutions a block on the way down and up, a pooling and an enlargement a level, the stem and the head.
        self.halo = 2 * sum(steps) + 2 * sum(steps[:-1]) + sum(steps[1:]) + 2 * STEP
        first = widths[0]
        self.stem = nn.Sequential(nn.Conv2d(inputs, first, 2 * STEP, STEP, 1, bias=False), *_calm(first))
        self.down = nn.ModuleList(_block(a, b) for a, b in zip((first, *widths), widths, strict=False))
        upward = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(_block(below + beside, beside) for below, beside in upward)
        self.head = nn.Conv2d(first, outputs * STEP**2, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Outputs (N, outputs, Y, X) without a final non-linearity."""
        x = self.stem(image)
        beside: list[torch.Tensor] = []
        for level, block in enumerate(self.down):
            x = block(nn.functional.max_pool2d(x, 2) if level else x)
            beside.append(x)
        beside.pop()
        for block in self.up:
            x = block(torch.cat([nn.functional.interpolate(x, scale_factor=2.0), beside.pop()], dim=1))
        return nn.functional.pixel_shuffle(self.head(x), STEP)


def _calm(width: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(width), nn.ReLU(inplace=True)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        *_calm(outputs),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        *_calm(outputs),
    )
