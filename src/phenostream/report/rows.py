"""Rows of a run or of any profile table, piece by piece, so that a page about millions of cells needs little memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pyarrow as pa
from pyarrow import parquet

from phenostream.errors import NotFoundError, PhenostreamError
from phenostream.profiles import Manifest, part_schema, read_part
from phenostream.profiles.parts import opened
from phenostream.profiles.schema import conform, is_outline, union
from phenostream.values import columns_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from phenostream.profiles import PartEntry
    from phenostream.profiles import tables as profile_tables
    from phenostream.report.facts import Facts
    from phenostream.values import Column

#: Rows of one piece of a table; a run's pieces are its parts.
PIECE = 65_536
#: What readers of text hold at a time, whatever columns are asked for: all of them in one walk.
_TEXT_ROWS = 4_096
_FILES_HASHED = 50


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
        return cls(path, 0, _largest(path), _origin(path), _flat(part_schema(path)))

    def schema(self) -> pa.Schema:
        """Columns and roles."""
        return self._schema

    def pieces(self, names: Sequence[str]) -> Iterator[Piece]:
        """Row groups, cut to pieces."""
        wanted = pa.schema([self._schema.field(name) for name in names])
        with pa.OSFile(str(self.path), "rb") as source, opened(source, self.path) as file:
            for place in range(file.groups):
                for read in file.pieces(place, list(names), rows=PIECE):
                    whole = conform(read, wanted)
                    for start in range(0, whole.num_rows, PIECE):
                        yield Piece(whole.slice(start, PIECE))


@dataclass(slots=True)
class ForeignRows:
    """Rows of another program's table, through the readers of :mod:`phenostream.profiles`."""

    table: profile_tables.Source
    parts: int
    largest: int
    source: dict[str, str]
    _schema: pa.Schema

    @classmethod
    def of(cls, path: Path) -> ForeignRows:
        """Let the readers recognise it; the roles are what they take from its names."""
        from phenostream.profiles.reading import read_foreign  # noqa: PLC0415  (each reader brings its own libraries)

        table = read_foreign(path)
        schema = _flat(table.schema()).with_metadata({b"phenostream.roles": b"names"})
        is_parquet = path.suffix == ".parquet" and path.is_file()
        return cls(table, 0, _largest(path) if is_parquet else _TEXT_ROWS, _origin(path), schema)

    def schema(self) -> pa.Schema:
        """Columns and the roles that their names mean."""
        return self._schema

    def pieces(self, names: Sequence[str]) -> Iterator[Piece]:
        """Tables as the reader gives them, cut to pieces."""
        for table in self.table.tables(list(names)):
            for start in range(0, table.num_rows, PIECE):
                yield Piece(table.slice(start, PIECE))


def open_table(path: Path) -> Rows:
    """The rows of a profile table.

    Parquet files whose schema says what their columns are, and whatever the readers of :mod:`phenostream.profiles`
    recognise: CSV and Parquet of pycytominer and CytoTable, CellProfiler's CSV and SQLite, DeepProfiler, idrstream,
    AnnData. Of those the roles are taken from the names, and the page says so.

    Raises:
        NotFoundError: nothing there.
        RecipeError: nothing recognises it.
        DamagedError: a file that cannot be read.
    """
    if not path.exists():
        raise NotFoundError(f"nothing at {path}", remedy="give a run folder or a table of profiles")
    if path.is_file() and path.suffix == ".parquet" and has_roles(part_schema(path)):
        return ParquetRows.of(path)
    return ForeignRows.of(path)


def has_roles(schema: pa.Schema) -> bool:
    """Whether any column of `schema` says what it is."""
    return any(b"phenostream" in (field.metadata or {}) for field in schema)


def _flat(schema: pa.Schema) -> pa.Schema:
    simple = [field for field in schema if not is_outline(field) and not pa.types.is_nested(field.type)]
    return pa.schema(simple).with_metadata(dict(schema.metadata or {}))


def _is_number(kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def numeric(schema: pa.Schema) -> list[Column]:
    """Features and quality figures that are numbers, in the order of the schema."""
    kinds = {field.name: field.type for field in schema}
    return [one for one in columns_of(schema) if one.role in {"feature", "qc"} and _is_number(kinds[one.name])]


def _largest(path: Path) -> int:
    described = parquet.read_metadata(path)
    return max((described.row_group(place).num_rows for place in range(described.num_row_groups)), default=0)


def _origin(path: Path) -> dict[str, str]:
    """Names and hashes of what was read."""
    if path.is_file():
        return {"table": path.name, "bytes": f"{path.stat().st_size:,}", "sha256": _sha256(path)}
    files = sorted(one for one in path.rglob("*") if one.is_file())
    told = {"folder": path.resolve().name, "files": f"{len(files):,}"}
    return told | {f"sha256 of {one.relative_to(path).as_posix()}": _sha256(one) for one in files[:_FILES_HASHED]}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
