"""Images in the rows of Parquet files, as data sets on hubs are distributed: a JPEG 2000 or PNG a row.

`Plane.inner` is the column, the row group and the row in it, ``jp2/3/17``, all counted from 0; c, t and z must be 0. A
cell holds the bytes of an image, alone or as the field ``bytes`` of a struct. Parquet gives a row group at a time: see
`phenostream.formats.together`. Source: Apache Parquet format; ISO/IEC 15444-1, A.5.1 (SIZ); PNG specification.
"""

from __future__ import annotations

from functools import partial
from typing import IO, TYPE_CHECKING, Any, cast

import imagecodecs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from phenostream.errors import DamagedError, OutOfRangeError, PhenostreamError, TooLargeError, WrongShapeError
from phenostream.formats import _memory, attach, png
from phenostream.formats._grey import grey
from phenostream.formats._places import check_index
from phenostream.formats.limits import DEFAULT, Limits, check_claim, check_dtype
from phenostream.values import Field, FieldId, Plane
from phenostream.values.seeking import Opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from phenostream.values import Container, Store

_SIZ = b"\xff\x4f\xff\x51"
_PNG = b"\x89PNG"
_GROUP_BYTES = 2 * 2**30
_FETCH_AGAIN = "fetch the file again, or tell whoever keeps it"


def fields(store: Store, container: Container) -> Iterator[Field]:
    """Every row as a field of one channel, sites numbered from 1. Raises NotFoundError, DamagedError."""
    key = container.key
    with _opened(store, key) as file:
        column = _images(file.schema_arrow, key)
        rows = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    site = 0
    for group, count in enumerate(rows):
        for row in range(count):
            site += 1
            one = FieldId(container.study, container.plate, container.well, str(site))
            yield attach(Field(one, planes=(Plane(key, "parquet_images", f"{column}/{group}/{row}"),)), store)


def read(store: Store, plane: Plane, *, limits: Limits = DEFAULT) -> NDArray[Any]:
    """The pixels (Y, X) of a row, uint8 or uint16.

    Raises:
        NotFoundError: no such file.
        OutOfRangeError: no such row or group; c, t or z is not 0.
        DamagedError: not Parquet, truncated, or no image.
        TooLargeError: an image or a row group that claims more than `limits` allow.
        WrongShapeError: a colour image.
    """
    for axis, value in (("c", plane.c), ("t", plane.t), ("z", plane.z)):
        check_index(value, 1, axis, plane.key)
    data = _memory.stored(store, plane, partial(_load, store))
    what = f"{plane.inner} of {plane.key}"
    return np.ascontiguousarray(grey(_decoded(data, what, limits), what))


def touch(store: Store, plane: Plane) -> None:
    """Read the row group and decode no image."""
    _memory.stored(store, plane, partial(_load, store))


def _load(store: Store, planes: set[Plane]) -> dict[Plane, bytes]:
    """The stored images of planes that lie in one row group."""
    first = next(iter(planes))
    column, group, _ = _place(first)
    cells = _cells(store, first.key, column, group)
    return {plane: _bytes(cells, _place(plane)[2], plane) for plane in planes}


def _place(plane: Plane) -> tuple[str, int, int]:
    parts = plane.inner.rsplit("/", 2)
    if len(parts) != 3 or not all(part.isdecimal() for part in parts[1:]):
        raise OutOfRangeError(f"{plane.inner!r} is no row of {plane.key}", remedy="name column, row group and row")
    return parts[0], int(parts[1]), int(parts[2])


def _cells(store: Store, key: str, column: str, group: int) -> pa.Array[Any]:
    with _opened(store, key) as file:
        check_index(group, file.num_row_groups, "row group", key)
        told = file.metadata.row_group(group)
        claimed = sum(told.column(place).total_uncompressed_size for place in range(told.num_columns))
        if claimed > _GROUP_BYTES:
            raise TooLargeError(
                f"row group {group} of {key} claims {claimed:,} bytes, over the cap of {_GROUP_BYTES:,}",
                remedy="write the file again with smaller row groups",
            )
        if column not in file.schema_arrow.names:
            raise OutOfRangeError(f"{key} has no column {column!r}", remedy=f"it has {file.schema_arrow.names}")
        # Without threads, which may let go of these bytes after the interpreter ended, and that aborts.
        read: Any = file.read_row_group(group, [column], use_threads=False)[column]
        found: pa.Array[Any] = read.combine_chunks()
        return found


def _bytes(cells: pa.Array[Any], row: int, plane: Plane) -> bytes:
    check_index(row, len(cells), "row", plane.key)
    cell = cells[row].as_py()
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(data, bytes):
        raise DamagedError(f"{plane.inner} of {plane.key} holds no image", remedy=_FETCH_AGAIN)
    return data


def _images(schema: pa.Schema, key: str) -> str:
    """The column of images: the first of bytes, or of structs with bytes."""
    for one in schema:
        if pa.types.is_binary(one.type) or pa.types.is_large_binary(one.type) or pa.types.is_struct(one.type):
            return one.name
    raise DamagedError(f"{key} has no column of images", remedy="give a file whose rows hold images")


class _opened:  # noqa: N801  (reads as a function: with _opened(store, key) as file)
    """A Parquet file of a store; what it and its rows raise comes out under the names of this package."""

    def __init__(self, store: Store, key: str) -> None:
        self._key = key
        self._source = Opened(store, key)

    def __enter__(self) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(cast("IO[bytes]", self._source))
        except Exception as error:
            raise self._named(error) from error

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, PhenostreamError):
            raise self._named(error) from error

    def _named(self, error: Exception) -> Exception:
        if isinstance(error, PhenostreamError):
            return error
        if isinstance(error, (pa.ArrowException, OSError, ValueError, KeyError, IndexError, MemoryError)):
            return DamagedError(f"{self._key} is not Parquet, or damaged: {error}", remedy=_FETCH_AGAIN)
        return error


def _decoded(data: bytes, what: str, limits: Limits) -> NDArray[Any]:
    if data.startswith(_PNG):
        return png.decoded(data, what, limits=limits)
    at = data.find(_SIZ)
    if at < 0 or len(data) < at + 24:
        raise DamagedError(f"{what} is no JPEG 2000 image, and no PNG", remedy=_FETCH_AGAIN)
    right, bottom, left, top = (int.from_bytes(data[at + k : at + k + 4]) for k in (8, 12, 16, 20))
    check_claim((bottom - top, right - left), "u2", what, stored=len(data), limits=limits)
    try:
        picture: NDArray[Any] = np.asarray(imagecodecs.jpeg2k_decode(data))
    except imagecodecs.Jpeg2kError as error:
        raise DamagedError(f"{what} does not decode: {error}", remedy=_FETCH_AGAIN) from error
    check_dtype(picture.dtype, what, ("uint8", "uint16"))
    if picture.ndim not in (2, 3):
        raise WrongShapeError(f"{what} has shape {picture.shape}", remedy="a channel is a grey image")
    return picture
