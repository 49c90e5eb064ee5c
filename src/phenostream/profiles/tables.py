"""Rows wherever they lie: one contract for a table in memory, a run folder, and Parquet files larger than memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from phenostream.errors import DamagedError, NotFoundError, RecipeError
from phenostream.profiles.parts import opened, part_schema, writer_options
from phenostream.profiles.read import iter_profiles, profiles_schema
from phenostream.profiles.schema import conform, union
from phenostream.profiles.writing import replacing
from phenostream.values import Column, columns_of, with_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

#: Rows of one piece: what an operation holds at a time beside its statistics.
PIECE_ROWS = 65_536


@runtime_checkable
class Source(Protocol):
    """Rows that can be read again and again, column by column, in one and the same order.

    Schemas carry the roles. `tables` gives at least one table (of no rows where there are none), all of them with
    exactly the columns asked for, in that order.
    """

    def schema(self) -> pa.Schema:
        """Columns and roles."""
        ...

    def count(self) -> int:
        """Number of rows."""
        ...

    def tables(self, names: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The rows, piece by piece; all columns when None."""
        ...


@dataclass(frozen=True, slots=True)
class Held:
    """A table in memory."""

    table: pa.Table

    def schema(self) -> pa.Schema:
        """Columns and roles."""
        return self.table.schema

    def count(self) -> int:
        """Number of rows."""
        return self.table.num_rows

    def tables(self, names: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Slices of it: nothing is copied."""
        chosen = self.table if names is None else self.table.select(list(names))
        for start in range(0, max(chosen.num_rows, 1), PIECE_ROWS):
            yield chosen.slice(start, PIECE_ROWS)


@dataclass(frozen=True, slots=True)
class Run:
    """A run folder, read through its ledger."""

    folder: Path

    def schema(self) -> pa.Schema:
        """Columns and roles of all parts together."""
        return profiles_schema(self.folder)

    def count(self) -> int:
        """Rows of all parts, as the ledger says."""
        from phenostream.profiles.manifest import Manifest  # noqa: PLC0415  (opens SQLite)

        with Manifest(self.folder) as manifest:
            return sum(part.rows for part in manifest.parts())

    def tables(self, names: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """One part at a time."""
        return iter_profiles(self.folder, names)


class Files:
    """One Parquet file, or a folder of them in the order of their names."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Read the schemas of `paths`; the roles must stand in them, or every column is metadata."""
        self.paths = tuple(paths)
        self._schema = union([part_schema(path) for path in self.paths])

    def schema(self) -> pa.Schema:
        """Columns and roles of all files together."""
        return self._schema

    def count(self) -> int:
        """Rows, from the files' footers."""
        return sum(_rows(path) for path in self.paths)

    def tables(self, names: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Row group by row group, in pieces where one is larger; a column that a file lacks is null."""
        wanted = list(self._schema.names) if names is None else list(names)
        schema = pa.schema([self._schema.field(name) for name in wanted])
        empty = True
        for path in self.paths:
            for table in _groups(path, wanted):
                whole = conform(table, schema)
                for start in range(0, whole.num_rows, PIECE_ROWS):
                    empty = False
                    yield whole.slice(start, PIECE_ROWS)
        if empty:
            yield schema.empty_table()


@dataclass(frozen=True, slots=True)
class Mapped:
    """Rows of another source, changed piece by piece when they are read.

    Attributes:
        of: where the rows come from.
        told: the schema of what comes out.
        change: what is done to a piece, whose columns are those of `needs`.
        needs: the columns of `of` that certain columns of the result need.
        rows: number of rows that come out; None where each row in gives one out.
    """

    of: Source
    told: pa.Schema
    change: Callable[[pa.Table, Sequence[str]], pa.Table]
    needs: Callable[[Sequence[str]], Sequence[str]]
    rows: int | None = None

    def schema(self) -> pa.Schema:
        """Columns and roles of the result."""
        return self.told

    def count(self) -> int:
        """Rows of the result."""
        return self.of.count() if self.rows is None else self.rows

    def tables(self, names: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The changed pieces."""
        wanted = list(self.told.names) if names is None else list(names)
        for table in self.of.tables(self.needs(wanted)):
            yield self.change(table, wanted)


@dataclass(frozen=True, slots=True)
class Filtered:
    """Some rows of another source.

    Attributes:
        of: where the rows come from.
        keep: (n,) which of them.
    """

    of: Source
    keep: NDArray[np.bool_]

    def schema(self) -> pa.Schema:
        """Columns and roles."""
        return self.of.schema()

    def count(self) -> int:
        """Rows that are kept."""
        return int(self.keep.sum())

    def tables(self, names: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The kept rows, piece by piece."""
        start = 0
        for table in self.of.tables(names):
            keep = self.keep[start : start + table.num_rows]
            start += table.num_rows
            yield table if keep.all() else table.filter(pa.array(keep))


def open_table(where: Source | pa.Table | str | Path) -> Source:
    """The rows of a table, a run folder, a Parquet file, or a folder of Parquet files.

    Raises:
        NotFoundError: nothing of the kind there.
        DamagedError: a Parquet file that cannot be read, or files that do not fit together.
    """
    if isinstance(where, pa.Table):
        return Held(where)
    if not isinstance(where, str | Path):
        return where
    path = Path(where)
    if (path / "ledger.db").is_file():
        return Run(path)
    found = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not found or not found[0].is_file():
        raise NotFoundError(
            f"no table at {path}", remedy="give a run folder, a .parquet file or a folder of them; import others first"
        )
    return Files(found)


def whole(source: Source) -> pa.Table:
    """All rows in memory."""
    return pa.concat_tables(list(source.tables()))


def write_table(source: Source, path: str | Path, *, rows: int = PIECE_ROWS) -> int:
    """Write `source` as one Parquet file in row groups of about `rows`, whole or not at all; the number of rows.

    Memory holds one row group. Roles stand in the schema; pages have checksums.
    """
    return write_pieces(source.tables(), source.schema(), Path(path), rows=rows)


def write_pieces(tables: Iterable[pa.Table], schema: pa.Schema, path: Path, *, rows: int = PIECE_ROWS) -> int:
    """As :func:`write_table`, from tables that all have `schema`."""
    written, waiting, held = 0, [schema.empty_table().replace_schema_metadata(None)], 0
    with (
        replacing(path) as temporary,
        pq.ParquetWriter(temporary, schema.remove_metadata(), **writer_options(schema)) as writer,
    ):
        for table in tables:
            waiting.append(table.replace_schema_metadata(None))
            held += table.num_rows
            if held >= rows:
                writer.write_table(pa.concat_tables(waiting).combine_chunks(), row_group_size=held)
                written, waiting, held = written + held, [], 0
        if held or not written:
            writer.write_table(pa.concat_tables(waiting), row_group_size=max(held, 1))
    return written + held


def feature_names(schema: pa.Schema, chosen: str | Sequence[str] = "model") -> list[str]:
    """The features an operation works on, in the order of the schema.

    Args:
        schema: with roles.
        chosen: ``model``: features that are not positional; ``all``: every feature; or their names.

    Raises:
        NotFoundError: no such column, or no feature at all.
        RecipeError: a chosen column does not hold numbers, or is named twice.
    """
    told = [column for column in columns_of(schema) if column.role == "feature"]
    if isinstance(chosen, str):
        if chosen not in ("model", "all"):
            raise RecipeError(f"no choice of features {chosen!r}", remedy="say model, all, or a list of names")
        names = [column.name for column in told if chosen == "all" or not column.positional]
        if not names:
            raise NotFoundError(
                "the table has no features: no column has that role",
                remedy="import it, which assigns roles, or name them",
            )
    else:
        require(schema, chosen)
        if len(set(chosen)) < len(chosen):
            raise RecipeError("a feature is named twice", remedy="name each once")
        wanted = set(chosen)
        names = [name for name in schema.names if name in wanted]
    for name in names:
        kind = schema.field(name).type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
            raise RecipeError(f"feature {name!r} holds {kind}, not numbers", remedy="give it the role metadata")
    return names


def require(schema: pa.Schema, names: Sequence[str]) -> None:
    """Refuse with NotFoundError where a column of `names` is missing, or stands twice in `schema`."""
    known = list(schema.names)
    for name in names:
        if name not in known:
            raise NotFoundError(f"no column {name!r} in the table", remedy=f"there are {', '.join(known[:12])} ...")
        if known.count(name) > 1:
            raise DamagedError(f"the column {name!r} stands twice in the table", remedy="rename one of them")


def numbers(column: Any) -> NDArray[np.float64]:
    """A column of numbers as float64, nulls and infinities as NaN."""
    kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    wide = column if pa.types.is_float64(kind) else column.cast(pa.float64(), safe=False)
    flat = wide.combine_chunks() if isinstance(wide, pa.ChunkedArray) else wide
    values = np.asarray(flat.to_numpy(zero_copy_only=False), dtype=np.float64)
    if not np.isfinite(values).all():
        values = np.where(np.isfinite(values), values, np.nan)
    return values


def float_type(schema: pa.Schema, name: str) -> Any:
    """What a computed column is kept in: float32 stays float32, all else becomes float64."""
    kind = schema.field(name).type
    return kind if pa.types.is_float32(kind) else pa.float64()


def redescribed(table: pa.Table, like: pa.Schema, extra: Sequence[Column] = ()) -> pa.Table:
    """`table` with the descriptions that its columns have in `like`, and those of `extra`."""
    known = {column.name: column for column in columns_of(like)} | {column.name: column for column in extra}
    return with_columns(table, [known[name] for name in table.column_names if name in known])


def _groups(path: Path, names: Sequence[str]) -> Iterator[pa.Table]:
    with pa.OSFile(str(path), "rb") as stream, opened(stream, path) as file:
        known = set(file.schema.names)
        have = [name for name in names if name in known]
        if have:
            for place in range(file.groups):
                yield from file.pieces(place, have, rows=PIECE_ROWS)
            return
    rows = _rows(path)
    for start in range(0, rows, PIECE_ROWS):
        yield pa.table({"": pa.nulls(min(PIECE_ROWS, rows - start))})


def _rows(path: Path) -> int:
    told = pq.read_metadata(path)
    return sum(told.row_group(place).num_rows for place in range(told.num_row_groups))
