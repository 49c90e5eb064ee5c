"""Which Zarr types and codecs may be decoded, how chunks are named, and what a stored chunk says it decodes to.

The list is closed: numcodecs can also decode pickles, and a codec whose output cannot be bounded beforehand is a bomb.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import google_crc32c
import imagecodecs
import numpy as np

from phenostream.errors import DamagedError, HostileError, TooLargeError, WrongDtypeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phenostream.formats.limits import Limits

_COMPRESSORS = frozenset({"blosc", "zstd", "gzip", "zlib", "lz4"})
_FILTERS = frozenset({"shuffle", "delta", "crc32", "crc32c", "adler32", "fletcher32"})
_SUFFIX = {"crc32c": 4}
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# Deflate cannot do better than 1032 to one (RFC 1951: 258 bytes from two bits).
_DEFLATE_BEST = 1032


@dataclass(frozen=True, slots=True)
class ChunkNames:
    """Names of chunks: `prefix`, then the indices, joined by `separator`."""

    prefix: str
    separator: str

    def __call__(self, indices: Sequence[int]) -> str:
        """Name of the chunk at `indices`."""
        numbers = [str(index) for index in indices] or (["0"] if not self.prefix else [])
        return self.separator.join(([self.prefix] if self.prefix else []) + numbers)

    @classmethod
    def of(cls, encoding: Mapping[str, Any]) -> Self:
        """From the chunk_key_encoding of Zarr v3."""
        old = encoding["name"] == "v2"
        if not old and encoding["name"] != "default":
            raise DamagedError(f"chunk names of kind {encoding['name']!r} are not known")
        separator = encoding.get("configuration", {}).get("separator", "." if old else "/")
        return cls("" if old else "c", separator)

    def __post_init__(self) -> None:
        if self.separator not in (".", "/"):
            raise HostileError(f"chunk names with the separator {self.separator!r}")


@dataclass(frozen=True, slots=True)
class Coding:
    """How a chunk is compressed: the compressor (empty for none), bytes added after it, and whether sizes are exact."""

    compressor: str
    added: int = 0
    exact: bool = True


def v2(told: Mapping[str, Any]) -> Coding:
    """Coding of a Zarr v2 array. Raises HostileError for a codec that is not on the list."""
    filters = [_name(step) for step in told.get("filters") or []]
    compressor = told.get("compressor")
    name = _name(compressor) if compressor else ""
    _refuse_unknown([step for step in filters if step not in _FILTERS])
    _refuse_unknown([name] if name and name not in _COMPRESSORS else [])
    return Coding(name, exact=not filters)


def v3(steps: Sequence[Mapping[str, Any]]) -> Coding:
    """Coding of a Zarr v3 array. Raises HostileError for a codec that is not on the list."""
    names = [str(step["name"]) for step in steps]
    packed = [name for name in names if name in ("blosc", "zstd", "gzip")]
    rest = [name for name in names if name not in ("bytes", "transpose", "crc32c", *packed)]
    _refuse_unknown(rest + packed[1:])
    after = names[names.index(packed[0]) + 1 :] if packed else names
    added = sum(_SUFFIX.get(name, 0) for name in after)
    return Coding(packed[0] if packed else "", added, exact=names.count("crc32c") == after.count("crc32c"))


def dtype_v2(name: object, key: str) -> np.dtype[Any]:
    """Type of a Zarr v2 array in native byte order. Raises WrongDtypeError for structures, objects and strings."""
    return _plain_dtype(name if isinstance(name, str) else "O", key)


def dtype_v3(name: object, key: str) -> np.dtype[Any]:
    """Type of a Zarr v3 array. Raises WrongDtypeError for what has no plain NumPy equal."""
    return _plain_dtype(name if isinstance(name, str) and not name.startswith(("<", ">", "|")) else "O", key)


def check_blob(blob: bytes, coding: Coding, expected: int, key: str, limits: Limits) -> None:
    """Refuse a stored chunk that would decode to anything but `expected` bytes.

    Raises:
        TooLargeError: it claims more than it may.
        DamagedError: it claims another length, or is too short to claim anything.
    """
    body = blob[: len(blob) - coding.added] if coding.added else blob
    told = _claimed(body, coding.compressor, expected, limits.plane_bytes)
    if told is None or (not coding.exact and told <= limits.plane_bytes):
        return
    if told > expected:
        raise TooLargeError(f"chunk {key} claims {told:,} bytes instead of {expected:,}", remedy="do not use this file")
    if told < expected:
        raise DamagedError(f"chunk {key} holds {told:,} of {expected:,} bytes", remedy="fetch the image again")


def checked_crc32c(blob: bytes, key: str) -> bytes:
    """`blob` without its last four bytes, where they are the CRC-32C of the rest. Raises DamagedError."""
    body, told = blob[:-4], int.from_bytes(blob[-4:], "little")
    if google_crc32c.value(body) != told:
        raise DamagedError(f"the index of shard {key} fails its checksum", remedy="fetch the image again")
    return body


def _claimed(body: bytes, compressor: str, expected: int, cap: int) -> int | None:
    """Decoded length as the compressed bytes tell it; None where it is surely below `cap` and nobody tells it."""
    if compressor == "":
        return len(body)
    if compressor == "blosc":
        return int.from_bytes(body[4:8], "little") if len(body) >= 16 else 0
    if compressor == "lz4":
        return int.from_bytes(body[:4], "little")
    if compressor == "zstd":
        return _zstd_claim(body, expected)
    return None if len(body) * _DEFLATE_BEST <= cap else _inflated(body, cap)


def _zstd_claim(body: bytes, expected: int) -> int:
    """Content size in the frame header (RFC 8878, 3.1.1.1); decoded into no more than `expected` where it has none."""
    if body[:4] != _ZSTD_MAGIC or len(body) < 6:
        return 0
    flag = body[4]
    single = flag >> 5 & 1
    start = 5 + (1 - single) + (0, 1, 2, 4)[flag & 3]
    width = (single, 2, 4, 8)[flag >> 6]
    if width == 0:
        try:
            return len(imagecodecs.zstd_decode(body, out=bytearray(expected)))
        except imagecodecs.ZstdError:
            return 0
    return int.from_bytes(body[start : start + width], "little") + (256 if width == 2 else 0)


def _inflated(body: bytes, cap: int) -> int:
    """Decoded length of a gzip or zlib stream, counted without keeping it, at most a little over `cap`."""
    stream, total, rest = zlib.decompressobj(wbits=47), 0, body
    try:
        while rest and total <= cap:
            total += len(stream.decompress(rest, 2**20))
            rest = stream.unconsumed_tail
    except zlib.error as error:
        raise DamagedError(f"a deflated chunk is corrupt: {error}", remedy="fetch the image again") from error
    if stream.unused_data:
        raise HostileError("a deflated chunk of several members", remedy="do not use this file")
    return total


def _name(codec: object) -> str:
    if not isinstance(codec, dict):
        raise DamagedError(f"a codec is described by {codec!r}")
    return str(codec.get("id"))


def _refuse_unknown(names: Sequence[str]) -> None:
    if names:
        raise HostileError(
            f"codec {names[0]!r} is not on the list of codecs that are decoded",
            remedy="rewrite the array with blosc, zstd, gzip, zlib or lz4",
        )


def _plain_dtype(name: str, key: str) -> np.dtype[Any]:
    try:
        found = np.dtype(name)
    except (TypeError, ValueError):
        found = np.dtype("O")
    if found.kind not in "biufc" or found.subdtype is not None:
        raise WrongDtypeError(f"array {key} holds {name!r}, not numbers", remedy="name an array of pixels")
    return found.newbyteorder("=")
