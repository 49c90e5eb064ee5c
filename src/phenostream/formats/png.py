"""PNG sites: grey pictures of 8 or 16 bits, each byte of them covered by a checksum that is verified.

`Plane.key` is the file; c, t and z must be 0. Source: PNG specification, third edition, https://www.w3.org/TR/png-3/.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np

from phenostream.errors import DamagedError, WrongDtypeError, WrongShapeError
from phenostream.formats import attach
from phenostream.formats._grey import grey
from phenostream.formats._places import check_index
from phenostream.formats.limits import DEFAULT, Limits, check_claim
from phenostream.values import Field, FieldId, Plane

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from phenostream.values import Container, Store

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SAMPLES = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
_FETCH_AGAIN = "fetch the file again, or tell whoever keeps it"


@dataclass(frozen=True, slots=True)
class Header:
    """What the picture says of itself: size in pixels, bits a sample, samples a pixel."""

    width: int
    height: int
    bits: int
    samples: int


def fields(store: Store, container: Container) -> Iterator[Field]:
    """The one field of a PNG file, its channel named ``DNA``. Raises NotFoundError, DamagedError."""
    check_header(store.read(container.key, 0, 33), container.key)
    identity = FieldId(container.study, container.plate, container.well)
    yield attach(Field(identity, planes=(Plane(container.key, "png"),)), store)


def read(store: Store, plane: Plane, *, limits: Limits = DEFAULT) -> NDArray[Any]:
    """The pixels (Y, X), uint8 or uint16.

    A colour picture with equal channels passes as grey (display renderings are saved so); fewer than 8 bits are scaled
    to 8.

    Raises:
        NotFoundError: no such file.
        OutOfRangeError: c, t or z is not 0.
        DamagedError: truncated, or a checksum does not fit.
        TooLargeError: the header claims more than `limits` allow.
        WrongShapeError: real colours, or transparency.
    """
    for axis, value in (("c", plane.c), ("t", plane.t), ("z", plane.z)):
        check_index(value, 1, axis, plane.key)
    return np.ascontiguousarray(grey(picture(store, plane.key, limits=limits), plane.key))


def picture(store: Store, key: str, *, limits: Limits = DEFAULT) -> NDArray[Any]:
    """The whole picture (Y, X) or (Y, X, samples), uint8 or uint16. Raises as `read`, whatever its colours."""
    return decoded(store.read(key, 0, limits.plane_bytes), key, limits=limits)


def decoded(data: bytes, key: str, *, limits: Limits = DEFAULT) -> NDArray[Any]:
    """The picture in the bytes of a file that is called `key` in messages; as `picture`."""
    header = check_header(data, key)
    shape = (header.height, header.width, header.samples)
    check_claim(shape, f"u{max(1, header.bits // 8)}", key, stored=len(data), limits=limits)
    check_chunks(data, key)
    try:
        return np.asarray(imagecodecs.png_decode(data))
    except imagecodecs.PngError as error:
        raise DamagedError(f"{key} does not decode: {error}", remedy=_FETCH_AGAIN) from error


def touch(store: Store, plane: Plane) -> None:
    """Read the file and decode nothing."""
    store.read(plane.key, 0, DEFAULT.plane_bytes)


def write(path: Path | str, pixels: NDArray[Any], *, level: int = 1) -> None:
    """Write a grey picture (Y, X), uint8 or uint16; the same pixels give the same bytes.

    Level 1 is three times as quick as 6 and hardly larger on microscope images.

    Raises:
        WrongShapeError: not (Y, X).
        WrongDtypeError: another type.
    """
    array = np.asarray(pixels)
    if array.ndim != 2 or 0 in array.shape:
        raise WrongShapeError(f"a picture of shape {array.shape}", remedy="give (Y, X), one channel a file")
    if array.dtype.name not in ("uint8", "uint16"):
        raise WrongDtypeError(f"PNG holds uint8 or uint16, not {array.dtype}", remedy="write TIFF or OME-Zarr")
    native = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    Path(path).write_bytes(imagecodecs.png_encode(native, level=level))


def check_header(data: bytes, key: str) -> Header:
    """The header of a PNG file, from its first 33 bytes. Raises DamagedError."""
    if len(data) < 33 or data[:8] != _SIGNATURE or data[8:16] != b"\x00\x00\x00\x0dIHDR":
        raise DamagedError(f"{key} is not a PNG file", remedy=_FETCH_AGAIN)
    _check_crc(data, 8, 13, key)
    width, height = (int.from_bytes(data[at : at + 4]) for at in (16, 20))
    bits, kind = data[24], data[25]
    if kind not in _SAMPLES or bits not in (1, 2, 4, 8, 16):
        raise DamagedError(f"{key} has colour type {kind} with {bits} bits", remedy=_FETCH_AGAIN)
    return Header(width, height, bits, _SAMPLES[kind])


def check_chunks(data: bytes, key: str) -> None:
    """Every chunk is whole and fits its CRC, and the last one ends the picture. Raises DamagedError."""
    at, kind = 8, b""
    while kind != b"IEND":
        if at + 12 > len(data):
            raise DamagedError(f"{key} is truncated at byte {len(data):,}", remedy=_FETCH_AGAIN)
        length, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        if at + 12 + length > len(data):
            raise DamagedError(f"{key} is truncated at byte {len(data):,}", remedy=_FETCH_AGAIN)
        _check_crc(data, at, length, key)
        at += 12 + length


def _check_crc(data: bytes, at: int, length: int, key: str) -> None:
    body = memoryview(data)[at + 4 : at + 8 + length]
    if zlib.crc32(body) != int.from_bytes(data[at + 8 + length : at + 12 + length]):
        raise DamagedError(f"chunk {bytes(body[:4])!r} of {key} fails its checksum", remedy=_FETCH_AGAIN)
