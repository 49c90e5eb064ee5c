"""How images lie in a model: lengths it takes, how far it looks, and where its outputs fall."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phenostream.errors import WrongShapeError
from phenostream.inference.description import Description, Size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from fractions import Fraction

__all__ = ["Frame"]


@dataclass(frozen=True, slots=True)
class Frame:
    """The axes of space of a model; each tuple has an entry an axis.

    Attributes:
        names: of the axes, ``y`` and ``x`` or ``z``, ``y`` and ``x``; none for models without space.
        stride: lengths are multiples of it.
        minimum: shortest length.
        fixed: the one length that is taken; None where it is free.
        halo: pixels of the input that an output pixel looks at, a multiple of the stride; None for the whole image.
        ratios: by output, its pixels a pixel of the input; empty for outputs without space.
    """

    names: tuple[str, ...]
    stride: tuple[int, ...]
    minimum: tuple[int, ...]
    fixed: tuple[int | None, ...]
    halo: tuple[int, ...] | None
    ratios: Mapping[str, tuple[Fraction, ...]]

    @classmethod
    def of(cls, description: Description) -> Frame:
        """The frame that a description tells. Raises WrongShapeError for outputs that fall beside the stride's grid."""
        axes = description.input.space
        stride = tuple(axis.size.step if isinstance(axis.size, Size) else 1 for axis in axes)
        told = tuple(axis.size.min if isinstance(axis.size, Size) else 1 for axis in axes)
        ratios = description.ratios
        if any(
            (ratio * one).denominator != 1 for each in ratios.values() for ratio, one in zip(each, stride, strict=False)
        ):
            raise WrongShapeError("an output does not fall on the grid of the stride", remedy="correct scale or step")
        return cls(
            tuple(axis.id for axis in axes),
            stride,
            description.own.minimum or told,
            tuple(axis.size if isinstance(axis.size, int) else None for axis in axes),
            _halo(description, stride) if description.own.tileable else None,
            ratios,
        )

    @property
    def cuttable(self) -> bool:
        """Whether an image can be given in tiles."""
        return self.halo is not None and bool(self.names) and all(self.ratios.values())

    def padded(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shortest lengths from `shape` on that the model takes, or cuts into what it takes."""
        each = zip(shape, self.stride, self.minimum, self.fixed, strict=True)
        return tuple(
            max(length, fixed) if fixed else max(up(length, stride), up(minimum, stride))
            for length, stride, minimum, fixed in each
        )

    def nearest(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Lengths that the model takes, as they are, for images of `shape`."""
        return tuple(fixed or length for fixed, length in zip(self.fixed, self.padded(shape), strict=True))

    def window(self, lengths: Sequence[int], tile: int | Sequence[int]) -> tuple[int, ...]:
        """`tile` in lengths that the model takes, no longer than the image. Raises WrongShapeError."""
        told = [tile] * len(lengths) if isinstance(tile, int) else list(tile)
        if len(told) != len(lengths) or min(told) < 1:
            raise WrongShapeError(f"tile {tile} does not fit {len(lengths)} axes of space")
        return tuple(
            fixed or min(length, one) for fixed, length, one in zip(self.fixed, lengths, self.padded(told), strict=True)
        )

    def least(self, lengths: Sequence[int], overlap: int) -> tuple[int, ...]:
        """The shortest windows that get on: the whole image where it cannot be cut."""
        if self.halo is None or not self.cuttable:
            return tuple(lengths)
        needed = [
            2 * halo + 2 * max(up(overlap, stride), stride) for halo, stride in zip(self.halo, self.stride, strict=True)
        ]
        return self.window(lengths, needed)

    def output_shape(self, name: str, shape: Sequence[int]) -> tuple[int, ...]:
        """Lengths of an output for an image of `shape`."""
        return tuple(math.ceil(length * ratio) for length, ratio in zip(shape, self.ratios[name], strict=False))


def up(length: int, stride: int) -> int:
    """The next multiple of `stride` from `length` on."""
    return -(-length // stride) * stride


def _halo(description: Description, stride: Sequence[int]) -> tuple[int, ...]:
    """The farthest look of all outputs."""
    ratios = description.ratios
    with_space = [tensor for tensor in description.outputs if tensor.space]
    return tuple(
        up(
            max((math.ceil((one.space[place].halo or 0) / ratios[one.id][place]) for one in with_space), default=0),
            step,
        )
        for place, step in enumerate(stride)
    )
