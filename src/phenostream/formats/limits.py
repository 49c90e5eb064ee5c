"""What a reader may be asked to allocate: claims are compared with these caps before anything is decoded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from phenostream.errors import EmptyError, TooLargeError, WrongDtypeError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import DTypeLike

PIXEL_TYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32")
LABEL_TYPES = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps on what a file may claim.

    Attributes:
        plane_bytes: decoded bytes of one plane, and of the chunk that holds it.
        ratio: decoded bytes over stored bytes.
        metadata_bytes: length of one metadata document.
    """

    plane_bytes: int = 512 * 2**20
    ratio: int = 10_000
    metadata_bytes: int = 64 * 2**20


DEFAULT = Limits()


def check_claim(shape: Sequence[int], dtype: DTypeLike, what: str, *, stored: int = 0, limits: Limits = DEFAULT) -> int:
    """Bytes that an array of this shape and type takes, where a reader may allocate it.

    Args:
        shape: what the file claims, any number of axes.
        dtype: type of one element.
        what: the thing measured, for the message.
        stored: bytes of the file that it comes from; 0 where that is not known.
        limits: the caps.

    Raises:
        EmptyError: an axis has no length.
        TooLargeError: over the cap, or over `limits.ratio` times what is stored.
    """
    if any(length <= 0 for length in shape):
        raise EmptyError(f"{what} has no pixels: shape {tuple(shape)}", remedy="leave it out of the work list")
    claimed = math.prod(int(length) for length in shape) * np.dtype(dtype).itemsize
    if claimed > limits.plane_bytes:
        raise TooLargeError(
            f"{what} claims {claimed:,} bytes, over the cap of {limits.plane_bytes:,}",
            remedy="raise Limits.plane_bytes if the file is honest",
        )
    if stored and claimed > limits.ratio * stored:
        raise TooLargeError(
            f"{what} claims {claimed:,} bytes out of {stored:,} stored, over {limits.ratio:,} to one",
            remedy="raise Limits.ratio if the file is honest",
        )
    return claimed


def check_dtype(dtype: DTypeLike, what: str, allowed: Collection[str] = PIXEL_TYPES) -> np.dtype[np.generic]:
    """`dtype` in native byte order, where it is one of the `allowed` names. Raises WrongDtypeError."""
    found = np.dtype(dtype)
    if found.name not in allowed:
        raise WrongDtypeError(
            f"{what} holds {found.name}; allowed are {', '.join(allowed)}",
            remedy="convert the image to one of these before the run",
        )
    return found.newbyteorder("=")
