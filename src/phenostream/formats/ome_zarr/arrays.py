"""One Zarr array on a store: which chunks a plane needs, their bytes, and the decoded plane.

Chunks are fetched here and decoded by zarr-python from memory. So a missing chunk is an error instead of a fill value,
nothing beside the plane is fetched, and what a chunk claims to decode to is compared with its array before it may.
"""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.buffer.cpu import Buffer
from zarr.storage import MemoryStore

from phenostream.errors import DamagedError, NotFoundError, PhenostreamError
from phenostream.formats._places import join
from phenostream.formats.limits import DEFAULT, Limits, check_claim
from phenostream.formats.ome_zarr import codecs
from phenostream.formats.ome_zarr.metadata import document

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from phenostream.values import Store

_AT_ONCE = 8
_FETCH_AGAIN = "fetch the image again, or tell whoever keeps it"


@dataclass(frozen=True, slots=True)
class Shards:
    """Chunks packed into shards: `chunks` is the shape of one shard, the index closes (or opens) it."""

    chunks: tuple[int, ...]
    at_end: bool
    checksum: bool


@dataclass(frozen=True, slots=True)
class Array:
    """A Zarr array as its metadata describes it.

    Attributes:
        key: of the array's folder.
        shape: of the whole array.
        chunks: shape of one chunk that is decoded.
        dtype: of the elements, in native byte order.
        name: chunk indices to the name of the chunk (of the shard, where there are shards).
        coding: how a chunk is compressed.
        shards: None where each chunk is a blob of its own.
        plain: metadata of the same array without shards, as zarr-python decodes it.
    """

    key: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    name: codecs.ChunkNames
    coding: codecs.Coding
    shards: Shards | None
    plain: Mapping[str, Any]


def open_array(store: Store, key: str, zarr_format: int) -> Array | None:
    """The array in the folder `key`, of Zarr format 2 or 3; None where there is none. Raises DamagedError."""
    told = document(store, join(key, ".zarray" if zarr_format == 2 else "zarr.json"))
    if told is None or told.get("node_type", "array") != "array":
        return None
    if told.get("zarr_format") != zarr_format:
        raise DamagedError(f"array {key} is of Zarr format {told.get('zarr_format')} in a group of {zarr_format}")
    try:
        return _of_v2(key, told) if zarr_format == 2 else _of_v3(key, told)
    except PhenostreamError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedError(f"array {key} has unreadable metadata: {error!r}", remedy=_FETCH_AGAIN) from error


def fetch(store: Store, array: Array, index: Sequence[int | slice], *, limits: Limits = DEFAULT) -> dict[str, bytes]:
    """The stored bytes of every chunk that `index` needs, by the name that the unsharded array gives it.

    Args:
        store: where the array lies.
        array: which array.
        index: an int or a full slice for each axis.
        limits: caps on the plane and on a chunk.

    Raises:
        NotFoundError: a chunk is not there; the message names its key.
        TooLargeError: the plane or a chunk claims too much.
    """
    plane = [size for size, place in zip(array.shape, index, strict=True) if isinstance(place, slice)]
    check_claim(plane, array.dtype, f"a plane of {array.key}", limits=limits)
    check_claim(array.chunks, array.dtype, f"a chunk of {array.key}", limits=limits)
    wanted = list(_touched(array, index))
    found = _from_shards(store, array, wanted) if array.shards else _each(store, array, wanted)
    expected = math.prod(array.chunks) * array.dtype.itemsize
    for name, blob in found.items():
        codecs.check_blob(blob, array.coding, expected, join(array.key, name), limits)
    return found


def decode(array: Array, chunks: Mapping[str, bytes], index: Sequence[int | slice]) -> NDArray[Any]:
    """The elements at `index` out of fetched `chunks`. Raises DamagedError where a codec or checksum objects."""
    blobs: dict[str, Any] = {name: Buffer.from_bytes(blob) for name, blob in chunks.items()}
    version = array.plain["zarr_format"]
    blobs["zarr.json" if version == 3 else ".zarray"] = Buffer.from_bytes(json.dumps(array.plain).encode())
    try:
        view = zarr.open_array(MemoryStore(blobs), mode="r", zarr_format=version)
        return np.asarray(view[tuple(index)])
    except Exception as error:
        where = ", ".join(join(array.key, name) for name in chunks)
        raise DamagedError(f"cannot decode {where}: {error}", remedy=_FETCH_AGAIN) from error


def _of_v2(key: str, told: Mapping[str, Any]) -> Array:
    names = codecs.ChunkNames("", str(told.get("dimension_separator", ".")))
    shape, chunks = _lengths(told["shape"], key), _lengths(told["chunks"], key, least=1)
    plain = {**told, "fill_value": told.get("fill_value"), "filters": told.get("filters")}
    return _checked(Array(key, shape, chunks, codecs.dtype_v2(told["dtype"], key), names, codecs.v2(told), None, plain))


def _of_v3(key: str, told: Mapping[str, Any]) -> Array:
    if told["chunk_grid"]["name"] != "regular" or told.get("storage_transformers"):
        raise DamagedError(f"array {key} has a chunk grid or transformer that is not known")
    shape = _lengths(told["shape"], key)
    outer = _lengths(told["chunk_grid"]["configuration"]["chunk_shape"], key, least=1)
    encoding = codecs.ChunkNames.of(told["chunk_key_encoding"])
    dtype, steps = codecs.dtype_v3(told["data_type"], key), told["codecs"]
    if steps and steps[0]["name"] == "sharding_indexed" and len(steps) == 1:
        shards, chunks, steps = _sharding(steps[0]["configuration"], outer, key)
    else:
        shards, chunks = None, outer
    grid = {"name": "regular", "configuration": {"chunk_shape": list(chunks)}}
    plain = {**told, "chunk_grid": grid, "codecs": steps, "attributes": {}}
    return _checked(Array(key, shape, chunks, dtype, encoding, codecs.v3(steps), shards, plain))


def _sharding(
    told: Mapping[str, Any], outer: tuple[int, ...], key: str
) -> tuple[Shards, tuple[int, ...], list[dict[str, Any]]]:
    chunks = _lengths(told["chunk_shape"], key, least=1)
    index = [step["name"] for step in told["index_codecs"]]
    if index not in (["bytes"], ["bytes", "crc32c"]) or any(
        size % part for size, part in zip(outer, chunks, strict=True)
    ):
        raise DamagedError(f"array {key} has shards that cannot be read: index codecs {index}, chunks {chunks}")
    return Shards(outer, told.get("index_location", "end") == "end", "crc32c" in index), chunks, told["codecs"]


def _lengths(told: Sequence[object], key: str, *, least: int = 0) -> tuple[int, ...]:
    if not all(type(length) is int and length >= least for length in told):
        raise DamagedError(f"array {key} has the lengths {told}")
    return tuple(told)  # type: ignore[arg-type]


def _checked(array: Array) -> Array:
    if len(array.chunks) != len(array.shape):
        raise DamagedError(f"array {array.key} has shape {array.shape} but chunks {array.chunks}")
    return array


def _touched(array: Array, index: Sequence[int | slice]) -> product[tuple[int, ...]]:
    """Indices of the chunks under `index`."""
    spans = [
        range(-(-length // chunk)) if isinstance(place, slice) else (place // chunk,)
        for length, chunk, place in zip(array.shape, array.chunks, index, strict=True)
    ]
    return product(*spans)


def _each(store: Store, array: Array, wanted: Sequence[tuple[int, ...]]) -> dict[str, bytes]:
    names = [array.name(indices) for indices in wanted]
    with_key = [join(array.key, name) for name in names]
    return dict(zip(names, _at_once(lambda key: _blob(store, key), with_key), strict=True))


def _at_once(one: Any, many: Sequence[Any]) -> list[bytes]:
    """Several requests side by side; a single one without the cost of a thread."""
    if len(many) < 2:
        return [one(item) for item in many]
    with ThreadPoolExecutor(min(_AT_ONCE, len(many))) as pool:
        return list(pool.map(one, many))


def _blob(store: Store, key: str, start: int = 0, stop: int | None = None) -> bytes:
    try:
        return store.read(key, start, stop)
    except NotFoundError as error:
        raise NotFoundError(f"chunk {key} is missing", remedy=_FETCH_AGAIN) from error


def _from_shards(store: Store, array: Array, wanted: Sequence[tuple[int, ...]]) -> dict[str, bytes]:
    """Per shard its index, then the ranges of the chunks."""
    spans: list[tuple[str, str, int, int]] = []
    tables: dict[tuple[int, ...], NDArray[np.uint64]] = {}
    shards = array.shards
    assert shards is not None  # noqa: S101  (only called for arrays that have them)
    per_shard = tuple(size // part for size, part in zip(shards.chunks, array.chunks, strict=True))
    for indices in wanted:
        outer, inner = zip(*(divmod(at, many) for at, many in zip(indices, per_shard, strict=True)), strict=True)
        key = join(array.key, array.name(outer))
        if outer not in tables:
            tables[outer] = _shard_index(store, key, shards, per_shard)
        offset, length = (int(number) for number in tables[outer][inner])
        if offset == length == 2**64 - 1:
            raise NotFoundError(f"chunk {indices} is missing in shard {key}", remedy=_FETCH_AGAIN)
        spans.append((array.name(indices), key, offset, offset + length))
    groups = _neighbours(sorted(spans, key=lambda span: span[1:]))
    blobs = _at_once(lambda group: _blob(store, group[0][1], group[0][2], group[-1][3]), groups)
    found = {}
    for group, blob in zip(groups, blobs, strict=True):
        if len(blob) != group[-1][3] - group[0][2]:
            raise DamagedError(f"shard {group[0][1]} ends before its chunk {group[-1][0]}", remedy=_FETCH_AGAIN)
        found.update({name: blob[start - group[0][2] : stop - group[0][2]] for name, _, start, stop in group})
    return found


def _neighbours(spans: Sequence[tuple[str, str, int, int]]) -> list[list[tuple[str, str, int, int]]]:
    """Spans of one shard that touch each other come in one request."""
    groups: list[list[tuple[str, str, int, int]]] = []
    for span in spans:
        if groups and groups[-1][-1][1] == span[1] and groups[-1][-1][3] == span[2]:
            groups[-1].append(span)
        else:
            groups.append([span])
    return groups


def _shard_index(store: Store, key: str, shards: Shards, per_shard: tuple[int, ...]) -> NDArray[np.uint64]:
    """Offset and length of each chunk of one shard: array (*per_shard, 2) uint64."""
    length = 16 * math.prod(per_shard) + 4 * shards.checksum
    try:
        size = store.size(key)
    except NotFoundError as error:
        raise NotFoundError(f"shard {key} is missing", remedy=_FETCH_AGAIN) from error
    if size < length:
        raise DamagedError(f"shard {key} of {size} bytes is shorter than its index", remedy=_FETCH_AGAIN)
    start = size - length if shards.at_end else 0
    index = _blob(store, key, start, start + length)
    if shards.checksum:
        index = codecs.checked_crc32c(index, key)
    table = np.frombuffer(index, "<u8").reshape(*per_shard, 2)
    used = table[table[..., 0] != np.uint64(2**64 - 1)]
    if (used > size).any() or (used.sum(axis=-1) > size).any():
        raise DamagedError(f"shard {key} has an index that points outside it", remedy=_FETCH_AGAIN)
    return table
