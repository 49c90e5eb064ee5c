"""Parts: the rows of one unit as one Parquet file, the same bytes every time, and none read unverified."""

from __future__ import annotations

import base64
import hashlib
import io
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from phenostream.errors import (
    DamagedError,
    ForbiddenError,
    HostileError,
    LedgerError,
    NotFoundError,
    PhenostreamError,
    TooLargeError,
)
from phenostream.profiles.places import stored_bytes
from phenostream.profiles.schema import CELL_ID, is_outline
from phenostream.values import columns_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

PART_VERSION = 1
MAX_FILE_BYTES = 2 << 30
MAX_ROWS = 1 << 24
MAX_DECODED_BYTES = 2 << 30
#: Of a row group that decodes to more than this, so much is decoded at a time.
PIECE_BYTES = 256 << 20
#: How many times larger than stored the pages of a large row group may be. Features hardly shrink at all.
MAX_UNFOLDING = 100

_BUFFER = 64 << 10
_AT_ONCE = 16
_VERSION_KEY = b"phenostream.part_version"
# Parquet's key-value metadata is UTF-8 by specification, and readers in Rust refuse a file that breaks it.
_BINARY = b"data:application/octet-stream;base64,"


def part_bytes(table: pa.Table, *, metadata: Mapping[str, bytes] | None = None) -> bytes:
    """`table` as one Parquet file of one row group: equal tables give equal bytes.

    zstd, page checksums, floats byte-split and outline coordinates as differences; statistics only where they can help
    (not for features).

    Args:
        table: rows of one unit, roles in its schema.
        metadata: kept beside the rows; values that are not UTF-8 text (a thumbnail) are stored as base64 and come back
            as they were.
    """
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, table.schema.remove_metadata(), **writer_options(table.schema)) as writer:
        writer.write_table(table.replace_schema_metadata(None), row_group_size=max(table.num_rows, 1))
        told = {key.encode(): _text(value) for key, value in (metadata or {}).items()}
        writer.add_key_value_metadata(_in_order({**told, _VERSION_KEY: str(PART_VERSION).encode()}))
    return sink.getvalue()


def writer_options(schema: pa.Schema) -> dict[str, Any]:
    """How every Parquet file of this package is written; `schema` decides the encodings."""
    split = {field.name: "BYTE_STREAM_SPLIT" for field in schema if pa.types.is_floating(field.type)}
    steps = {f"{field.name}.list.element": "DELTA_BINARY_PACKED" for field in schema if is_outline(field)}
    told = [column.name for column in columns_of(schema) if column.role != "feature" and column.name not in split]
    plain = [name for name in told if f"{name}.list.element" not in steps]
    return {
        "compression": "zstd",
        "compression_level": 3,
        "version": "2.6",
        "data_page_version": "1.0",
        "write_page_checksum": True,
        "use_dictionary": [name for name in plain if name != CELL_ID],
        "write_statistics": plain,
        "column_encoding": {**split, **steps} or None,
    }


def read_part(path: str | Path, columns: Sequence[str] | None = None, *, sha256: str = "") -> pa.Table:
    """The rows of the part at `path`, every page verified against its checksum.

    Args:
        path: a Parquet file.
        columns: names to read; all when None.
        sha256: hex digest the file must have; not compared when empty.

    Raises:
        NotFoundError: no such file, or no such column.
        DamagedError: bytes that are not what they were: a wrong hash or checksum, a broken file.
        TooLargeError: the columns claim more rows or bytes than any part has, refused before decoding.
        HostileError: a small file that would decode to an absurd size.
        LedgerError: written by a newer version.
    """
    if columns is None:
        return load(path, sha256=sha256)

    def choose(schema: pa.Schema) -> list[str]:
        for name in columns:
            if name not in schema.names:
                raise NotFoundError(f"no column {name!r} in {path}", remedy="ask for one that its schema names")
        return list(columns)

    return load(path, choose, sha256=sha256)


def load(path: str | Path, choose: Callable[[pa.Schema], list[str]] | None = None, *, sha256: str = "") -> pa.Table:
    """As :func:`read_part`, with `choose` deciding from the part's schema which columns to read."""
    data = _bytes(Path(path))
    if sha256 and hashlib.sha256(data).hexdigest() != sha256:
        raise DamagedError(
            f"{path} is not what was written: its sha256 differs", remedy="run again: the unit is computed anew"
        )
    with opened(pa.BufferReader(data), path) as file:
        names = choose(file.schema) if choose else list(file.schema.names)
        if not names:
            return pa.table({})
        groups = [file.group(place, names) for place in range(file.groups)]
        return (
            pa.concat_tables(groups) if groups else pa.schema([file.schema.field(name) for name in names]).empty_table()
        )


def part_metadata(path: str | Path) -> dict[str, bytes]:
    """The metadata given to :func:`part_bytes`, binary values as they were. Errors as :func:`read_part`."""
    with opened(pa.BufferReader(_bytes(Path(path))), path) as file:
        found = file.metadata
        return {key.decode(): _binary(value, path) for key, value in found.items() if key != b"ARROW:schema"}


def part_schema(path: str | Path) -> pa.Schema:
    """Columns and roles of the part at `path`. Errors as :func:`read_part`."""
    try:
        source: Any = pa.OSFile(str(path), "rb")
    except FileNotFoundError as error:
        if (stored := stored_bytes(Path(path))) is None:
            raise _unreadable(Path(path), error) from error
        source = pa.BufferReader(stored)
    except OSError as error:
        raise _unreadable(Path(path), error) from error
    with source, opened(source, path) as file:
        return file.schema


@dataclass(frozen=True, slots=True)
class Checked:
    """An open Parquet file; what it claims of the columns that are asked for is checked before they are decoded.

    Attributes:
        schema: columns and roles, dictionaries as the plain type they stand for.
        metadata: key-value metadata of the file.
        groups: number of row groups.
    """

    schema: pa.Schema
    metadata: Mapping[bytes, bytes]
    groups: int
    _claims: pq.FileMetaData
    _source: Any
    _path: str | Path

    def group(self, number: int, names: Sequence[str]) -> pa.Table:
        """The columns `names` of one row group; dictionaries are expanded only after their size is known.

        Raises:
            TooLargeError: they claim more than 2 GiB.
            HostileError: a small file that would decode to an absurd size.
            DamagedError: pages that are not what was written.
        """
        with _named(self._path):
            chunks = _chunks(self._claims, number, names)
            if (claimed := sum(map(_decoded, chunks))) > MAX_DECODED_BYTES:
                raise TooLargeError(
                    f"{self._path} claims {claimed} bytes in one row group for the columns asked for",
                    remedy="ask for fewer columns, or read it piece by piece with profiles.iter_profiles",
                )
            file = self._opened(chunks)
            # What decoding needs beside a column's numbers stays in memory until all columns of one call are read.
            few = [list(names[start : start + _AT_ONCE]) for start in range(0, len(names), _AT_ONCE)] or [[]]
            read = [self._plain(file.read_row_group(number, columns=some, use_threads=False), some) for some in few]
            return read[0] if len(read) == 1 else _beside(read)

    def pieces(self, number: int, names: Sequence[str], *, rows: int = 65_536) -> Iterator[pa.Table]:
        """The columns `names` of one row group; of a large one some rows at a time.

        A row group of more than 256 MiB comes in pieces of at most so many bytes and at most `rows` rows. Beside the
        piece memory holds the page and the dictionary that each of the columns stands at; where these would be no less
        than the columns themselves, up to 2 GiB come whole.

        Raises:
            TooLargeError: lists that claim more than 2 GiB in one row group: how long the longest is is not known.
            HostileError, DamagedError: as :meth:`group`.
        """
        chunks = _chunks(self._claims, number, names)
        told = self._claims.row_group(number).num_rows
        claimed = sum(map(_decoded, chunks))
        if claimed <= max(PIECE_BYTES, min(sum(map(_held, chunks)), MAX_DECODED_BYTES)):
            yield self.group(number, names)
            return
        _check_pages(chunks, names, self._source.size(), self._path)
        most = max(1, min(rows, PIECE_BYTES * told // claimed))
        read = 0
        with _named(self._path):
            file = self._opened(chunks)
            for batch in file.iter_batches(most, row_groups=[number], columns=list(names), use_threads=False):
                read += batch.num_rows
                yield self._plain(pa.Table.from_batches([batch]), names)
        if read != told:
            raise DamagedError(f"{self._path} has {read} rows in a group that claims {told}", remedy="write it again")

    def _opened(self, chunks: Sequence[pq.ColumnChunkMetaData]) -> pq.ParquetFile:
        # Read ahead, all columns would be in memory whole before the first page is decoded, brought by other threads.
        return pq.ParquetFile(
            self._source, metadata=self._claims, page_checksum_verification=True, pre_buffer=False,
            buffer_size=_BUFFER, read_dictionary=_dictionaries(chunks),
        )  # fmt: skip

    def _plain(self, read: pa.Table, names: Sequence[str]) -> pa.Table:
        table = read.select(list(names))
        for place, field in enumerate(table.schema):
            if pa.types.is_dictionary(field.type):
                packed = table.column(place)
                _check_expanded(packed, field.name, self._path)
                table = table.set_column(place, self.schema.field(field.name), packed.cast(field.type.value_type))
        return table.replace_schema_metadata(None)


@contextmanager
def opened(source: Any, path: str | Path) -> Iterator[Checked]:
    """`source` as a checked Parquet file; what breaks inside is named DamagedError."""
    with _named(path):
        file = pq.ParquetFile(source, pre_buffer=False)
        metadata = file.metadata.metadata or {}
        _check_version(metadata, path)
        _check_rows(file.metadata, path)
        schema = pa.schema([_unpacked(field) for field in file.schema_arrow])
        yield Checked(schema, metadata, file.num_row_groups, file.metadata, source, path)


def _unpacked(field: pa.Field[Any]) -> pa.Field[Any]:
    return field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if size > MAX_FILE_BYTES:
                raise TooLargeError(f"{path} has {size} bytes: no part has", remedy="read it as a file of profiles")
            return stream.read()
    except FileNotFoundError as error:
        if (stored := stored_bytes(path)) is None:
            raise _unreadable(path, error) from error
        return stored
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> Exception:
    if isinstance(error, FileNotFoundError):
        return NotFoundError(f"no part at {path}", remedy="run again: the unit is computed anew")
    if isinstance(error, PermissionError):
        return ForbiddenError(f"cannot read {path}: {error}", remedy="change its permissions")
    return DamagedError(f"cannot read {path}: {error}", remedy="check the disk")


@contextmanager
def _named(path: str | Path) -> Iterator[None]:
    # Damaged bytes surface from the Parquet reader as any of these; the file itself is already in memory or open.
    try:
        yield
    except PhenostreamError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, MemoryError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise DamagedError(f"{path} is damaged: {first}", remedy="run again: the unit is computed anew") from error


def _check_version(metadata: Mapping[bytes, bytes], path: str | Path) -> None:
    text = metadata.get(_VERSION_KEY, b"1")
    if not text.isdigit() or int(text) > PART_VERSION:
        raise LedgerError(
            f"{path} is a part of version {text.decode(errors='replace')}, this phenostream reads up to {PART_VERSION}",
            remedy="install a newer phenostream",
        )


def _check_rows(metadata: pq.FileMetaData, path: str | Path) -> None:
    most = max((metadata.row_group(place).num_rows for place in range(metadata.num_row_groups)), default=0)
    if most > MAX_ROWS:
        raise TooLargeError(
            f"{path} claims {most} rows in one row group", remedy=f"write it in row groups of at most {MAX_ROWS} rows"
        )


def _check_pages(chunks: Sequence[pq.ColumnChunkMetaData], names: Sequence[str], size: int, path: str | Path) -> None:
    """Refuse what decoding some rows at a time would not keep small: long lists, and pages that unfold without end."""
    wanted = set(names)
    lists = sum(_decoded(chunk) for chunk in chunks if chunk.path_in_schema not in wanted)
    if lists > MAX_DECODED_BYTES:
        raise TooLargeError(f"{path} claims {lists} bytes of lists in one row group", remedy="write it in smaller ones")
    stored = sum(chunk.total_compressed_size for chunk in chunks)
    if stored > size:
        raise DamagedError(f"{path} claims {stored} bytes of pages, it has {size}", remedy="copy it again")
    pages = sum(chunk.total_uncompressed_size for chunk in chunks)
    if pages > max(MAX_DECODED_BYTES, MAX_UNFOLDING * stored):
        raise HostileError(
            f"{path} claims to unfold {stored} bytes into {pages}", remedy="do not open it: no program wrote it"
        )


def _chunks(metadata: pq.FileMetaData, number: int, names: Sequence[str]) -> list[pq.ColumnChunkMetaData]:
    """What the footer says of the columns `names` in one row group; a list has a name of its own below its column's."""
    group, wanted = metadata.row_group(number), set(names)
    chunks = (group.column(place) for place in range(group.num_columns))
    return [chunk for chunk in chunks if not wanted.isdisjoint(_prefixes(chunk.path_in_schema))]


def _prefixes(path: str) -> Iterator[str]:
    yield path
    while "." in path:
        path = path.rpartition(".")[0]
        yield path


def _decoded(chunk: pq.ColumnChunkMetaData) -> int:
    return int(max(chunk.total_uncompressed_size, chunk.num_values * _width(chunk)))


def _width(chunk: pq.ColumnChunkMetaData) -> int:
    if _is_text(chunk):
        # Text in a list cannot be left packed while its size is added up, so the worst case must fit.
        return chunk.total_uncompressed_size if "." in chunk.path_in_schema and chunk.has_dictionary_page else 4
    return {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4}.get(chunk.physical_type, 8)


def _is_text(chunk: pq.ColumnChunkMetaData) -> bool:
    return bool(chunk.physical_type == "BYTE_ARRAY")


def _dictionaries(chunks: Iterable[pq.ColumnChunkMetaData]) -> list[str]:
    """The text columns to be left packed until the size of what they stand for is added up."""
    packed = (chunk for chunk in chunks if _is_text(chunk) and chunk.has_dictionary_page)
    return sorted({chunk.path_in_schema for chunk in packed if "." not in chunk.path_in_schema})


def _held(chunk: pq.ColumnChunkMetaData) -> int:
    """About what decoding some rows of a column at a time keeps of it: a page, its dictionary twice."""
    return min(_decoded(chunk), 2 << 20 if chunk.has_dictionary_page else 1 << 18)


def _beside(tables: Sequence[pa.Table]) -> pa.Table:
    schema = pa.schema([field for table in tables for field in table.schema])
    return pa.Table.from_arrays([column for table in tables for column in table.columns], schema=schema)


def _check_expanded(column: Any, name: str, path: str | Path) -> None:
    total = 0
    for chunk in column.chunks:
        lengths: Any = pc.binary_length(chunk.dictionary)
        total += pc.sum(lengths.take(chunk.indices)).as_py() or 0
    if total > MAX_DECODED_BYTES:
        raise HostileError(
            f"{path}: column {name!r} repeats a few values into {total} bytes", remedy="do not open it: no run wrote it"
        )


def _in_order(told: dict[bytes, bytes]) -> Any:
    return {key: told[key] for key in sorted(told)}


def _text(value: bytes) -> bytes:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return _BINARY + base64.b64encode(value)
    return _BINARY + base64.b64encode(value) if value.startswith(_BINARY) else value


def _binary(value: bytes, path: str | Path) -> bytes:
    if not value.startswith(_BINARY):
        return value
    with _named(path):
        return base64.b64decode(value.removeprefix(_BINARY), validate=True)
