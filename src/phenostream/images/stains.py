"""Composites with fixed colours and ranges: the same picture from the same pixels, whatever else is in the image.

The colours of the six stains of RxRx1 are those in which its publishers show it; the channel in which Cell Painting
takes actin, Golgi and plasma membrane together (AGP) has their mean. A channel's range maps linearly to black and full
colour, clipped at both ends; coloured channels are added and clipped. Brightfield, which is light everywhere, is grey,
and mixed with others only where it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from phenostream.errors import ChannelMissingError, EmptyError, RecipeError, WrongDtypeError, WrongShapeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Stain:
    """How a channel is shown.

    Attributes:
        colour: (r, g, b) of 0..255 at the upper end of the range.
        low: lower end of the range, on the scale 0..255 of `top`.
        high: upper end.
        mixed: whether it is shown where no channels are named; stains that are not are shown where there is no other.

    Raises:
        RecipeError: a colour outside 0..255, or a range that does not rise.
    """

    colour: tuple[int, int, int]
    low: float = 0.0
    high: float = 255.0
    mixed: bool = True

    def __post_init__(self) -> None:
        if len(self.colour) != 3 or not all(0 <= part <= 255 for part in self.colour) or not self.low < self.high:
            raise RecipeError(f"a stain {self}", remedy="give red, green, blue from 0 to 255, and a range that rises")


RXRX1: Final[Mapping[str, Stain]] = MappingProxyType(
    {
        "DNA": Stain((19, 0, 249), 0, 51),
        "ER": Stain((42, 255, 31), 0, 107),
        "Actin": Stain((255, 0, 25), 0, 64),
        "RNA": Stain((45, 255, 252), 0, 191),
        "Mito": Stain((250, 0, 253), 0, 89),
        "Golgi": Stain((254, 255, 40), 0, 191),
    }
)
"""The stains of RxRx1 by the names of its preset, channels 1 to 6."""


def _mean(one: Stain, other: Stain) -> Stain:
    red, green, blue = ((mine + its) // 2 for mine, its in zip(one.colour, other.colour, strict=True))
    return Stain((red, green, blue), (one.low + other.low) / 2, (one.high + other.high) / 2)


_BRIGHTFIELD: Final = ("Brightfield", "HighZBF", "LowZBF", "BFHighest", "BFMedium", "BFLowest")
CELL_PAINTING: Final[Mapping[str, Stain]] = MappingProxyType(
    {
        **RXRX1,
        "AGP": _mean(RXRX1["Actin"], RXRX1["Golgi"]),
        **dict.fromkeys(_BRIGHTFIELD, Stain((255, 255, 255), mixed=False)),
    }
)
"""The stains of Cell Painting: those of RxRx1, and the names that JUMP has for AGP and for its brightfield images."""


def shown_of(channels: Sequence[str], stains: Mapping[str, Stain]) -> tuple[str, ...]:
    """The channels that are shown where none are named: those whose stain is mixed, or all where none is."""
    return tuple(name for name in channels if name not in stains or stains[name].mixed) or tuple(channels)


def stained(
    stack: NDArray[Any],
    channels: Sequence[str],
    *,
    stains: Mapping[str, Stain] = CELL_PAINTING,
    show: Sequence[str] = (),
    top: float | None = None,
) -> NDArray[np.uint8]:
    """Channels of a site as one colour picture with fixed colours and ranges.

    Each plane t gives x = clip((255 t / top - low) / (high - low), 0, 1); the picture is the sum over channels of
    floor(x colour), clipped to 255. With the ranges of RxRx1, which begin at 0, this is the picture of its publishers.

    Args:
        stack: (C, Y, X), numbers.
        channels: name of each channel.
        stains: how each name is shown.
        show: the channels to show; all where empty, save brightfield beside others.
        top: pixel that is 255 on the scale of the ranges; by default the highest of an integer type.

    Returns:
        (Y, X, 3) uint8.

    Raises:
        WrongShapeError: not three axes, or not one name a channel.
        EmptyError: no channel or no pixels.
        WrongDtypeError: not numbers; floating point without `top`.
        ChannelMissingError: a channel to show that is not there, or without a stain.
    """
    planes = np.asarray(stack)
    if planes.ndim != 3 or len(planes) != len(channels):
        raise WrongShapeError(f"a stack of shape {planes.shape} and {len(channels)} names", remedy="give (C, Y, X)")
    if not planes.size:
        raise EmptyError("a stack without channels or pixels")
    scale = _top(planes.dtype, top)
    picture = np.zeros((*planes.shape[1:], 3), np.int64)
    for name in show or shown_of(channels, stains):
        stain = _stain(name, channels, stains)
        values = planes[list(channels).index(name)].astype(np.float64) * (255 / scale)
        share = np.clip(np.nan_to_num((values - stain.low) / (stain.high - stain.low)), 0, 1)
        picture += (share[..., None] * np.array(stain.colour)).astype(np.int64)
    return np.minimum(picture, 255).astype(np.uint8)


def _top(dtype: np.dtype[Any], top: float | None) -> float:
    if dtype.kind not in "uif":
        raise WrongDtypeError(f"pixels of type {dtype}", remedy="give numbers")
    if top is None and dtype.kind == "f":
        raise WrongDtypeError("floating point has no highest pixel", remedy="give top")
    return float(np.iinfo(dtype).max) if top is None else float(top)


def _stain(name: str, channels: Sequence[str], stains: Mapping[str, Stain]) -> Stain:
    if name not in channels or name not in stains:
        known = ", ".join(one for one in channels if one in stains) or "none"
        raise ChannelMissingError(f"no channel {name!r} with a stain; there are: {known}", remedy="give stains for it")
    return stains[name]
