"""Reading profiles: a run folder through its ledger, or one Parquet file, whole or part by part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from phenostream.errors import DamagedError, NotFoundError
from phenostream.profiles.manifest import Manifest, PartEntry
from phenostream.profiles.parts import load, opened, part_schema
from phenostream.profiles.places import run_folder
from phenostream.profiles.schema import View, conform, pick, union

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


def read_profiles(path: str | Path, columns: Sequence[str] | None = None, *, view: View = "all") -> pa.Table:
    """All profiles of a run or file in memory, one row an object.

    Args:
        path: a run folder (only what its ledger names is read), the ``s3://`` or ``gs://`` depot that a run has put
            its parts into, or a Parquet file.
        columns: with view ``all`` exactly these columns; with the other views these beside what the view holds.
        view: ``all`` columns; ``features``: ``CellId`` and the features; ``model``: the same without the positional
            ones (places, orientation, object numbers), which describe the image and not the cell.

    Returns:
        Rows in the order of the plan. Roles stand in the schema (:func:`phenostream.values.columns_of`). A column that
        a part lacks (a channel missing in one field) is null there.

    Raises:
        NotFoundError: nothing at `path`, a part that the ledger names is gone, or no such column.
        DamagedError: a part is not what was written.
        LedgerError: written by a newer version.
        RecipeError: no such view.
    """
    schema, tables = _open(path, columns, view)
    return pa.concat_tables(list(tables)) if schema.names else pa.table({})


def iter_profiles(path: str | Path, columns: Sequence[str] | None = None, *, view: View = "all") -> Iterator[pa.Table]:
    """As :func:`read_profiles`, one part (or row group, or piece of a large one) at a time, all of the same schema.

    Memory holds one part at a time, whatever the size of the run. At least one table comes, with no rows where there
    are none.
    """
    return _open(path, columns, view)[1]


def profiles_schema(path: str | Path) -> pa.Schema:
    """Columns and roles of the profiles at `path`, without reading rows. Errors as :func:`read_profiles`."""
    return _source(run_folder(path)).schema()


def _open(path: str | Path, columns: Sequence[str] | None, view: View) -> tuple[pa.Schema, Iterator[pa.Table]]:
    source = _source(run_folder(path))
    whole = source.schema()
    schema = pa.schema([whole.field(name) for name in pick(whole, columns, view)])
    return schema, _tables(source, schema)


def _tables(source: _Source, schema: pa.Schema) -> Iterator[pa.Table]:
    empty = True
    for table in source.tables(schema.names):
        empty = False
        yield conform(table, schema)
    if empty:
        yield schema.empty_table()


class _Source(Protocol):
    """Where rows come from, one table at a time."""

    def schema(self) -> pa.Schema: ...

    def tables(self, names: Sequence[str]) -> Iterator[pa.Table]: ...


@dataclass(frozen=True, slots=True)
class _Run:
    """A run folder: the parts its ledger names."""

    parts: list[PartEntry]

    def schema(self) -> pa.Schema:
        return union(part_schema(part.path) for part in self.parts)

    def tables(self, names: Sequence[str]) -> Iterator[pa.Table]:
        for part in self.parts:
            yield _rows(part, names)


@dataclass(frozen=True, slots=True)
class _File:
    """One Parquet file, row group by row group, large ones piece by piece."""

    path: Path

    def schema(self) -> pa.Schema:
        return union([part_schema(self.path)])

    def tables(self, names: Sequence[str]) -> Iterator[pa.Table]:
        with pa.OSFile(str(self.path), "rb") as source, opened(source, self.path) as file:
            for place in range(file.groups):
                yield from file.pieces(place, names)


def _source(path: Path) -> _Source:
    if path.is_dir():
        with Manifest(path) as manifest:
            return _Run(manifest.parts())
    if not path.is_file():
        raise NotFoundError(f"nothing at {path}", remedy="give a run folder or a Parquet file of profiles")
    return _File(path)


def _rows(part: PartEntry, names: Sequence[str]) -> pa.Table:
    wanted = set(names)
    table = load(part.path, lambda schema: [name for name in schema.names if name in wanted], sha256=part.sha256)
    if not table.column_names:
        # None of the wanted columns is here; the rows still count.
        return pa.table({"": pa.nulls(part.rows)})
    if table.num_rows != part.rows:
        raise DamagedError(f"{part.path} has {table.num_rows} rows, the ledger says {part.rows}")
    return table
