"""CellProfiler's SQLite, and cytominer-database's of its spreadsheets: one table an object and one of images."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from phenostream.errors import DamagedError, NotFoundError, TooLargeError
from phenostream.profiles.operating import Names, OperationSettings
from phenostream.profiles.readers._csv import MISSING
from phenostream.profiles.readers._linked import IMAGE, OBJECT, Linked, is_image_table, source_type

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from phenostream.profiles.tables import Source

_SUFFIXES = (".sqlite", ".sqlite3", ".db")
_ROWS = 4096
_MAX_TABLES = 1000
_MISSING = frozenset(MISSING)


class Settings(OperationSettings):
    """Which objects and image columns are read."""

    compartments: Names = Field((), description="objects to join; none: every object that has a table")
    image: Literal["metadata", "all"] = Field("metadata", description="image columns: the metadata, or all (role qc)")


def recognises(path: Path) -> bool:
    """Whether it is a SQLite file by suffix and first bytes."""
    if not path.is_file() or path.suffix.lower() not in _SUFFIXES:
        return False
    with path.open("rb") as file:
        return file.read(15) == b"SQLite format 3"


def read(path: Path, settings: Settings) -> Source:
    """One row a cell, joined as :mod:`phenostream.profiles.readers.cellprofiler_csv` joins them.

    The file is opened read-only. Several runs in one file (the column TableNumber) are several data sets.

    Raises:
        NotFoundError: no image table, or no object table.
        DamagedError: not a SQLite file.
    """
    with _database(path) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        if len(names) > _MAX_TABLES:
            raise TooLargeError(f"{path} has {len(names)} tables", remedy="is it CellProfiler's?")
        columns = {name: _columns(database, name) for name in names}
    image = next((name for name in names if is_image_table(name)), None)
    if image is None:
        raise NotFoundError(f"{path} has no image table", remedy=f"it has {', '.join(names[:12]) or 'no table'}")
    start = image[: -len("image")]
    objects = {name.removeprefix(start): name for name in sorted(names) if {IMAGE, OBJECT} <= set(columns[name])}
    if settings.compartments:
        if missing := [name for name in settings.compartments if name not in objects]:
            raise NotFoundError(f"no table of {missing[0]} in {path}", remedy=f"there are {', '.join(objects)}")
        objects = {name: objects[name] for name in settings.compartments}
    if not objects:
        raise NotFoundError(f"{path} has no object table", remedy="a table with ImageNumber and ObjectNumber")
    tables = {"Image": image, **objects}
    sets = [_Set(path, tables, {name: tuple(columns[table]) for name, table in tables.items()}, tuple(objects), number)
            for number in _runs(path, image, columns[image])]  # fmt: skip
    return Linked(sets, settings.image)


@dataclass(frozen=True, slots=True)
class _Set:
    """One run in the file."""

    path: Path
    tables: dict[str, str]
    known: dict[str, tuple[str, ...]]
    objects: tuple[str, ...]
    number: Any

    def columns(self, name: str) -> list[str]:
        return list(self.known[name])

    def rows(self, name: str) -> Iterator[pa.Table]:
        names = self.columns(name)
        fields = [pa.field(column, source_type(name, column, self.objects)) for column in names]
        order = [column for column in (_image(names), OBJECT) if column in names]
        where, values = ('WHERE "TableNumber" IS ?', (self.number,)) if "TableNumber" in names else ("", ())
        chosen = ", ".join(_quoted(column) for column in names)
        query = f"SELECT {chosen} FROM {_quoted(self.tables[name])} {where} ORDER BY {', '.join(map(_quoted, order))}"  # noqa: S608  (names are quoted)
        with _database(self.path) as database:
            cursor = database.execute(query, values)
            while rows := cursor.fetchmany(_ROWS):
                columns = zip(*rows, strict=True)
                arrays = [_array(column, one, self.path) for column, one in zip(columns, fields, strict=True)]
                table = pa.table(arrays, names=names)
                yield table.rename_columns([IMAGE if one == _image(names) else one for one in names])


def _image(names: list[str]) -> str:
    return IMAGE if IMAGE in names else f"Image_{IMAGE}"


def _runs(path: Path, image: str, names: list[str]) -> list[Any]:
    if "TableNumber" not in names:
        return [None]
    with _database(path) as database:
        query = f'SELECT DISTINCT "TableNumber" FROM {_quoted(image)} ORDER BY rowid'  # noqa: S608
        return list(dict.fromkeys(number for (number,) in database.execute(query)))


def _array(values: tuple[Any, ...], field: pa.Field[Any], path: Path) -> Any:
    try:
        if pa.types.is_floating(field.type):
            plain = [None if value is None or value in _MISSING else float(value) for value in values]
            numbers = np.array([np.nan if value is None else value for value in plain], float)
            return pa.array(numbers, field.type, mask=~np.isfinite(numbers))
        if pa.types.is_integer(field.type):
            return pa.array(
                [None if value is None or value in _MISSING else int(value) for value in values], field.type
            )
        return pa.array([None if value is None or value in _MISSING else _text(value) for value in values], field.type)
    except (ValueError, TypeError, OverflowError) as error:
        raise DamagedError(f"{path}: column {field.name!r}: {error}", remedy="correct the value") from error


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _columns(database: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in database.execute(f"PRAGMA table_info({_quoted(table)})")]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@contextmanager
def _database(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
            yield database
    except sqlite3.DatabaseError as error:
        raise DamagedError(f"{path} cannot be read: {error}", remedy="is it a SQLite file?") from error
