"""Shards: files of whole sites one after the other, and the documents that make them a Zarr v3 array.

A shard is the stored chunks, then for each slot its offset and length (u64 each, little-endian; all ones: nothing
there), then the CRC-32C of that index. Source: Zarr v3 core specification and its sharding-indexed codec, version 1.0,
https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import google_crc32c
import numpy as np

from phenostream.datasets._files import replacing
from phenostream.datasets.coding import LEVEL
from phenostream.errors import DamagedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from phenostream.datasets.coding import Coding

IMAGES = "images"
"""The Zarr group of a pack, which holds nothing else: what lies beside it is no part of a Zarr hierarchy."""
_NOTHING = 2**64 - 1
_CRC = 4


@dataclass(frozen=True, slots=True)
class Span:
    """Where a stored site lies: `length` bytes from `offset` of the file `shard`, and their CRC-32C."""

    shard: str
    offset: int
    length: int
    crc32c: int


@dataclass(frozen=True, slots=True)
class Written:
    """A finished shard: bytes and CRC-32C of the whole file."""

    bytes: int
    crc32c: int


def shard_path(array: str, number: int) -> str:
    """File of the shard `number` of an array, relative to the pack."""
    return f"{IMAGES}/{array}/c/{number}/0/0/0"


def write_shard(
    path: Path, slots: int, blobs: Iterable[tuple[int, bytes]]
) -> tuple[Written, dict[int, tuple[int, int]]]:
    """Write a shard, a site at a time, so that memory holds one.

    Args:
        path: of the shard; it appears when it is whole and durable.
        slots: how many sites a shard of this array has room for.
        blobs: (slot, stored bytes) of each site, in any order; slots that do not come stay empty.

    Returns:
        The shard, and (offset, length) of each slot written.
    """
    index = np.full((slots, 2), _NOTHING, "<u8")
    at, crc = 0, 0
    with replacing(path) as file:
        for slot, blob in blobs:
            file.write(blob)
            crc = google_crc32c.extend(crc, blob)
            index[slot] = at, len(blob)
            at += len(blob)
        footer = index.tobytes()
        footer += google_crc32c.value(footer).to_bytes(_CRC, "little")
        file.write(footer)
    told = {int(slot): (int(index[slot, 0]), int(index[slot, 1])) for slot in np.flatnonzero(index[:, 1] != _NOTHING)}
    return Written(at + len(footer), int(google_crc32c.extend(crc, footer))), told


def read_index(footer: bytes, slots: int, shard: str) -> NDArray[np.uint64]:
    """(slots, 2) offset and length of the sites of a shard, from its last bytes; all ones where a slot is empty.

    Raises DamagedError where the index fails its checksum.
    """
    if len(footer) != footer_bytes(slots):
        raise DamagedError(f"shard {shard} is too short for its index", remedy="pack it again")
    body = footer[:-_CRC]
    if google_crc32c.value(body) != int.from_bytes(footer[-_CRC:], "little"):
        raise DamagedError(f"the index of shard {shard} fails its checksum", remedy="pack it again")
    return np.frombuffer(body, "<u8").reshape(slots, 2)


def footer_bytes(slots: int) -> int:
    """Length of the index at the end of a shard."""
    return 16 * slots + _CRC


def array_document(coding: Coding, length: int, slots: int, attributes: Mapping[str, Any]) -> bytes:
    """The ``zarr.json`` of an array of `length` sites, `slots` a shard."""
    chunk = [1, *coding.shape]
    sharding = {
        "chunk_shape": chunk,
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, _compressor(coding)],
        "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
        "index_location": "end",
    }
    return _document(
        {
            "zarr_format": 3,
            "node_type": "array",
            "shape": [length, *coding.shape],
            "data_type": coding.dtype,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [slots, *coding.shape]}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": 0,
            "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
            "dimension_names": ["site", "c", "y", "x"],
            "attributes": dict(attributes),
        }
    )


def group_document(attributes: Mapping[str, Any]) -> bytes:
    """The ``zarr.json`` of a group."""
    return _document({"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)})


def _compressor(coding: Coding) -> dict[str, Any]:
    if coding.name == "zstd":
        return {"name": "zstd", "configuration": {"level": LEVEL, "checksum": False}}
    told = {"cname": "zstd", "clevel": LEVEL, "shuffle": "bitshuffle", "blocksize": 0}
    return {"name": "blosc", "configuration": {"typesize": np.dtype(coding.dtype).itemsize, **told}}


def _document(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
