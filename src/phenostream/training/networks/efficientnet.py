"""EfficientNet (Tan and Le 2019, arXiv:1905.11946), its padding and layer names those of the TensorFlow original.

Modules are named after the original's layers, so that a file of its weights can be laid over the network by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

#: What the original's batch normalisation adds to the variance.
_EPSILON = 1e-3
#: Block groups of B0: expansion, output channels, repeats, stride, kernel (table 1 of the paper).
_B0 = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
       (6, 320, 1, 1, 3))  # fmt: skip
#: Channels of the last convolution of B0.
WIDTH = 1280


class Shape(NamedTuple):
    """Shape of one block."""

    inputs: int
    expansion: int
    outputs: int
    stride: int
    kernel: int


def shapes() -> dict[str, Shape]:
    """The sixteen blocks of B0 by the original's names, ``block1a`` to ``block7a``, in order."""
    found: dict[str, Shape] = {}
    inputs = 32
    for group, (expansion, outputs, repeats, stride, kernel) in enumerate(_B0, start=1):
        for place in range(repeats):
            found[f"block{group}{'abcd'[place]}"] = Shape(inputs, expansion, outputs, 1 if place else stride, kernel)
            inputs = outputs
    return found


class EfficientNet(nn.Module):
    """B0 without its classifier: (N, 3, Y, X) to (N, 1280), the mean over the grid of the last activation."""

    def __init__(self) -> None:
        """Draw fresh weights."""
        super().__init__()
        self.stem_conv = Same(3, 32, 3, 2)
        self.stem_bn = _norm(32)
        self.blocks = nn.ModuleDict({name: Block(shape) for name, shape in shapes().items()})
        self.top_conv = Same(320, WIDTH, 1, 1)
        self.top_bn = _norm(WIDTH)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, Y, X) to (N, 1280)."""
        seen = functional.silu(self.stem_bn(self.stem_conv(image)))
        for block in self.blocks.values():
            seen = block(seen)
        return functional.silu(self.top_bn(self.top_conv(seen))).mean((2, 3))


class Block(nn.Module):
    """An inverted residual with squeeze and excitation."""

    def __init__(self, shape: Shape) -> None:
        """Make a block of `shape`."""
        super().__init__()
        inner = shape.inputs * shape.expansion
        self.expands = shape.expansion > 1
        if self.expands:
            self.expand_conv = Same(shape.inputs, inner, 1, 1)
            self.expand_bn = _norm(inner)
        self.dwconv = Same(inner, inner, shape.kernel, shape.stride, groups=inner)
        self.bn = _norm(inner)
        squeezed = max(1, shape.inputs // 4)
        self.se_reduce = nn.Conv2d(inner, squeezed, 1)
        self.se_expand = nn.Conv2d(squeezed, inner, 1)
        self.project_conv = Same(inner, shape.outputs, 1, 1)
        self.project_bn = _norm(shape.outputs)
        self.skips = shape.stride == 1 and shape.inputs == shape.outputs

    def forward(self, image: Tensor) -> Tensor:
        """(N, inputs, Y, X) to (N, outputs, Y / stride, X / stride), rounded up."""
        seen = functional.silu(self.expand_bn(self.expand_conv(image))) if self.expands else image
        seen = functional.silu(self.bn(self.dwconv(seen)))
        squeezed = functional.silu(self.se_reduce(seen.mean((2, 3), keepdim=True)))
        seen = self.project_bn(self.project_conv(seen * self.se_expand(squeezed).sigmoid()))
        return image + seen if self.skips else seen  # type: ignore[no-any-return]


class Same(nn.Module):
    """A convolution without bias, padded as TensorFlow does: its output is the input over the stride, rounded up.

    TensorFlow gives the odd pixel of padding to the end, so that an even image under stride 2 is padded there alone.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> None:
        """Make one."""
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        """(N, inputs, Y, X) to (N, outputs, Y / stride, X / stride), rounded up."""
        (kernel, _), (stride, _) = self.conv.kernel_size, self.conv.stride
        sides: list[int] = []
        for length in (image.shape[3], image.shape[2]):
            missing = max((-(-int(length) // stride) - 1) * stride + kernel - int(length), 0)
            sides += [missing // 2, missing - missing // 2]
        return self.conv(functional.pad(image, sides) if any(sides) else image)  # type: ignore[no-any-return]


def _norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=_EPSILON)
