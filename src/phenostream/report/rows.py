"""Rows of a run or of any profile table, piece by piece, so that a page about millions of cells needs little memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pyarrow as pa
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from phenostream.errors import DamagedError, NotFoundError, PhenostreamError
from phenostream.profiles import Manifest, part_schema, read_part
from phenostream.profiles.parts import opened
from phenostream.profiles.schema import conform, is_outline, union
from phenostream.values import Column, columns_of, with_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from phenostream.profiles import PartEntry
    from phenostream.report.facts import Facts

#: Rows of one piece of a table; a run's pieces are its parts.
PIECE = 65_536
_CSV_BLOCK = 8 << 20
_PREFIX = "Metadata_"
_IDENTITY = ("CellId", "Cell_UUID", "ObjectNumber", "ImageNumber", "TableNumber")


class Piece(NamedTuple):
    """Some rows, the part they came from (relative to the run folder; empty for a table), and that part's number."""

    table: pa.Table
    part: str = ""
    number: int = 0


class Rows(Protocol):
    """Rows that can be read again and again in one and the same order; the schema carries the roles.

    Attributes:
        parts: how many parts there are; 0 for a table.
        largest: rows that are decoded at a time, at most.
        source: what the rows were read from, for the page: name, facts about it.
    """

    parts: int
    largest: int
    source: dict[str, str]

    def schema(self) -> pa.Schema:
        """Columns and roles, without outlines."""
        ...

    def pieces(self, names: Sequence[str]) -> Iterator[Piece]:
        """The rows with exactly these columns; parts that cannot be read are left out and noted."""
        ...


class RunRows:
    """The parts of a run, as its ledger names them."""

    def __init__(self, facts: Facts) -> None:
        """Read every part's schema; parts that cannot be read are noted in `facts` and left out."""
        self._facts = facts
        with Manifest(facts.folder) as manifest:
            entries = manifest.parts()
        self._entries: list[tuple[int, PartEntry, frozenset[str]]] = []
        schemas: dict[pa.Schema, None] = {}
        for number, entry in enumerate(entries):
            try:
                schema = part_schema(entry.path)
            except PhenostreamError as error:
                facts.skip(entry.path, error)
                continue
            schemas[schema.remove_metadata()] = None
            self._entries.append((number, entry, frozenset(schema.names)))
        self._schema = _flat(union(schemas))
        self.parts = len(entries)
        self.largest = max((entry.rows for _, entry, _ in self._entries), default=0)
        self.source = {"run folder": facts.folder.resolve().name, "parts": f"{len(entries):,}"}

    def schema(self) -> pa.Schema:
        """Columns and roles of all parts together."""
        return self._schema

    def pieces(self, names: Sequence[str]) -> Iterator[Piece]:
        """One part at a time, its hash compared."""
        wanted = pa.schema([self._schema.field(name) for name in names])
        for number, entry, known in self._entries:
            path = entry.path.relative_to(self._facts.folder).as_posix()
            if path in self._facts.unread:
                continue
            try:
                table = read_part(entry.path, [name for name in names if name in known], sha256=entry.sha256)
            except PhenostreamError as error:
                self._facts.skip(entry.path, error)
                continue
            if not table.column_names:
                table = pa.table({"": pa.nulls(entry.rows)})
            yield Piece(conform(table, wanted), path, number)


@dataclass(slots=True)
class ParquetRows:
    """One Parquet file, decoded page by page."""

    path: Path
    parts: int
    largest: int
    source: dict[str, str]
    _schema: pa.Schema

    @classmethod
    def of(cls, path: Path) -> ParquetRows:
        """Check the file's claims and read its roles."""
        schema = _flat(_roles(part_schema(path)))
        described = parquet.read_metadata(path)
        groups = [described.row_group(place).num_rows for place in range(described.num_row_groups)]
        told = {**_file(path), "rows in the file": f"{described.num_rows:,}"}
        return cls(path, 0, max(groups, default=0), told, schema)

    def schema(self) -> pa.Schema:
        """Columns and roles."""
        return self._schema

    def pieces(self, names: Sequence[str]) -> Iterator[Piece]:
        """Row groups, cut to pieces."""
        wanted = pa.schema([self._schema.field(name) for name in names])
        with pa.OSFile(str(self.path), "rb") as source, opened(source, self.path) as file:
            for place in range(file.groups):
                whole = conform(file.group(place, list(names)), wanted)
                for start in range(0, whole.num_rows, PIECE):
                    yield Piece(whole.slice(start, PIECE))


@dataclass(slots=True)
class CsvRows:
    """One CSV file, gzipped or not, read block by block; the types are those of its first block."""

    path: Path
    parts: int
    largest: int
    source: dict[str, str]
    _schema: pa.Schema
    _types: dict[str, Any]

    @classmethod
    def of(cls, path: Path) -> CsvRows:
        """Read the header and the first block: numbers are numbers, what is not is metadata."""
        with _csv(path, None) as reader:
            found = reader.schema
        types = {field.name: pa.float64() if _is_number(field.type) else pa.string() for field in found}
        if len(types) != len(found.names):
            raise DamagedError(f"{path} names a column twice", remedy="rename one of them")
        schema = _flat(_roles(pa.schema([pa.field(name, kind) for name, kind in types.items()])))
        return cls(path, 0, PIECE, _file(path), schema, types)

    def schema(self) -> pa.Schema:
        """Columns and the roles their names have by convention."""
        return self._schema

    def pieces(self, names: Sequence[str]) -> Iterator[Piece]:
        """Blocks of about 8 MB of text."""
        wanted = pa.schema([self._schema.field(name) for name in names])
        try:
            with _csv(self.path, self._types, names) as reader:
                for batch in reader:
                    yield Piece(conform(pa.Table.from_batches([batch]), wanted))
        except pa.ArrowException as error:
            raise DamagedError(f"{self.path}: {error}", remedy="every row must have the types of the first") from error


def open_table(path: Path) -> Rows:
    """The rows of a profile table: ``.parquet``, ``.csv`` or ``.csv.gz``.

    Roles are those in the schema. A table without any has the convention of CellProfiler and pycytominer instead:
    identity columns, names that begin with ``Metadata_`` and everything that is no number are metadata, the rest
    features; the page says so.

    Raises:
        NotFoundError: nothing there, or a table of another kind.
        DamagedError: a file that cannot be read.
    """
    if not path.is_file():
        raise NotFoundError(f"nothing at {path}", remedy="give a run folder or a table of profiles")
    name = path.name.lower()
    if name.endswith((".csv", ".csv.gz")):
        return CsvRows.of(path)
    if name.endswith((".parquet", ".pq")):
        return ParquetRows.of(path)
    raise NotFoundError(f"{path} is no table of profiles", remedy="give .parquet, .csv or .csv.gz, or a run folder")


def has_roles(schema: pa.Schema) -> bool:
    """Whether any column of `schema` says what it is."""
    return any(b"phenostream" in (field.metadata or {}) for field in schema)


def _roles(schema: pa.Schema) -> pa.Schema:
    if has_roles(schema):
        return schema
    told = [Column(field.name, "feature" if _is_feature(field) else "metadata") for field in schema]
    kept = {b"phenostream.roles": b"convention"}
    return with_columns(schema.empty_table(), told).schema.with_metadata(kept)


def _is_feature(field: pa.Field[Any]) -> bool:
    named = field.name.startswith(_PREFIX) or field.name in _IDENTITY or not field.name
    return _is_number(field.type) and not named


def _is_number(kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def _flat(schema: pa.Schema) -> pa.Schema:
    simple = [field for field in schema if not is_outline(field) and not pa.types.is_nested(field.type)]
    return pa.schema(simple, schema.metadata)


def numeric(schema: pa.Schema) -> list[Column]:
    """Features and quality figures that are numbers, in the order of the schema."""
    kinds = {field.name: field.type for field in schema}
    return [one for one in columns_of(schema) if one.role in {"feature", "qc"} and _is_number(kinds[one.name])]


def _csv(path: Path, types: dict[str, Any] | None, names: Sequence[str] | None = None) -> Any:
    try:
        return arrow_csv.open_csv(
            path,
            read_options=arrow_csv.ReadOptions(block_size=_CSV_BLOCK, use_threads=False),
            convert_options=arrow_csv.ConvertOptions(
                column_types=types, include_columns=list(names) if names else None, strings_can_be_null=True
            ),
        )
    except (pa.ArrowException, OSError) as error:
        raise DamagedError(f"{path} cannot be read as CSV: {error}", remedy="is it a table with a header?") from error


def _file(path: Path) -> dict[str, str]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return {"table": path.name, "sha256": digest.hexdigest(), "bytes": f"{path.stat().st_size:,}"}
