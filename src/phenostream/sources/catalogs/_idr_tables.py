"""Reading IDR tables: tab or comma separated, plain, .gz or .zip, of any length, with errors that name the cell."""

from __future__ import annotations

import csv
import gzip
import zipfile
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Literal, NoReturn, cast

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from phenostream.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

_TABLES = (".tsv", ".csv", ".txt")
_HEADER_BYTES = 1 << 20
_BLOCK_BYTES = 8 << 20


class Sheet:
    """Some rows of one table in its order, every value a string, each with its row number (the header is row 1).

    Args:
        path: the table, for messages.
        batch: the rows.
        numbers: their row numbers.
    """

    def __init__(self, path: Path, batch: pa.RecordBatch, numbers: pa.Array[Any]) -> None:
        """Keep the rows and where they came from."""
        self.path, self.batch, self.numbers = path, batch, numbers

    def __len__(self) -> int:
        return self.batch.num_rows

    def has(self, name: str) -> bool:
        """Whether the table has the column `name`."""
        return name in self.batch.schema.names

    def column(self, name: str) -> list[str]:
        """The values of the column `name`; empty strings where the table has no such column."""
        return _texts(self.batch.column(name)) if self.has(name) else [""] * len(self)

    def parsed(self, name: str, parse: Callable[[str], Any], *, wanted: str) -> Mapping[str, Any]:
        """What `parse` makes of each distinct value of the column `name` (parsed once each).

        Raises:
            RecipeError: `parse` raised ValueError; names file, row and column, and `wanted` says what belongs there.
        """
        found = {}
        for value in _texts(self.batch.column(name).unique()):
            try:
                found[value] = parse(value)
            except ValueError:
                row = self.row(name, value)
                refuse(self.path, f"{value!r} is not {wanted}", row=row, column=name, remedy=f"write {wanted} there")
        return found

    def row(self, name: str, value: str) -> int:
        """File row in which the column `name` first has this value."""
        found: int = self.numbers[pc.index(self.batch.column(name), value).as_py()].as_py()
        return found

    def where(self, name: str, predicate: Callable[[str], bool]) -> Sheet:
        """The rows whose value in the column `name` satisfies `predicate` (asked once a distinct value)."""
        column = self.batch.column(name)
        kept = pa.array([value for value in _texts(column.unique()) if predicate(value)], pa.string())
        mask = pc.is_in(column, value_set=kept)
        return Sheet(self.path, self.batch.filter(mask), self.numbers.filter(mask))


def _texts(column: pa.Array[Any]) -> list[str]:
    return cast("list[str]", column.to_pylist())


def refuse(path: Path, what: str, *, row: int = 0, column: str = "", remedy: str = "") -> NoReturn:
    """Raise RecipeError for the table `path`, naming row and column where known."""
    place = "".join((f", row {row}" if row else "", f", column {column!r}" if column else ""))
    raise RecipeError(f"table {path.name}{place}: {what}", remedy=remedy).at(file=path, row=row or None, column=column)


def header(path: Path) -> tuple[list[str], str]:
    """Column names of the table `path`, and its separator (tab or comma: the one that makes more columns).

    Raises:
        RecipeError: no such file, no header, or one column only (another separator).
    """
    with opened(path) as stream:
        line = stream.readline(_HEADER_BYTES).decode("utf-8-sig", errors="replace").rstrip("\r\n")
    separator = max("\t,", key=line.count)
    if separator not in line:
        refuse(
            path,
            "its first row has neither tabs nor commas",
            row=1,
            remedy="save it with tabs or commas between columns",
        )
    return next(csv.reader([line], delimiter=separator)), separator


def sheets(path: Path, *, required: Sequence[str], optional: Sequence[str]) -> Iterator[Sheet]:
    """The named columns of the table `path`, a stretch of rows at a time, so that memory does not grow with the table.

    Raises:
        RecipeError: a required column is missing, a row has too many or too few columns, or the text is not UTF-8.
    """
    names, separator = header(path)
    for name in required:
        if name not in names:
            shown = ", ".join(repr(known) for known in names[:12])
            refuse(
                path,
                f"the column is missing; there are: {shown}",
                row=1,
                column=name,
                remedy="name the columns in row 1 as IDR does",
            )
    wanted = [name for name in dict.fromkeys((*required, *optional)) if name in names]
    for name in wanted:
        if names.count(name) > 1:
            refuse(path, "the column stands there more than once", row=1, column=name, remedy="keep one of them")
    ragged: list[Any] = []
    try:
        with opened(path) as stream, _arrow(stream, separator, wanted, ragged) as reader:
            first = 2
            for batch in reader:
                numbers = pa.array(range(first, first + batch.num_rows), pa.int64())
                yield Sheet(path, batch, numbers)
                first += batch.num_rows
    except pa.ArrowInvalid as error:
        _explain(path, error, ragged)


def _arrow(stream: IO[bytes], separator: str, wanted: Sequence[str], ragged: list[Any]) -> arrow_csv.CSVStreamingReader:
    def note(row: Any) -> Literal["skip", "error"]:
        ragged.append(row)
        return "error"

    return arrow_csv.open_csv(
        stream,
        # Row numbers reach the handler on one thread only.
        read_options=arrow_csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
        parse_options=arrow_csv.ParseOptions(delimiter=separator, newlines_in_values=True, invalid_row_handler=note),
        convert_options=arrow_csv.ConvertOptions(
            include_columns=list(wanted), column_types={name: pa.string() for name in wanted}, strings_can_be_null=False
        ),
    )


def _explain(path: Path, error: Exception, ragged: list[Any]) -> NoReturn:
    if ragged:
        row = ragged[0]
        what = f"{row.actual_columns} values where the header has {row.expected_columns} columns: {row.text[:60]!r}"
        refuse(path, what, row=row.number or 0, remedy="repair the row: one value a column, same separator throughout")
    refuse(path, str(error).splitlines()[0], remedy="save it again as UTF-8 text with one row a line")


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of the table `path`, unpacked when it is a .gz or a .zip with one table in it.

    Raises:
        RecipeError: no such file, a damaged archive, or an archive without exactly one table.
    """
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive, archive.open(_member(path, archive)) as stream:
                yield stream
        else:
            with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
                yield stream  # type: ignore[misc]
    except FileNotFoundError as error:
        raise RecipeError(f"no table at {path}", remedy="give the path of the downloaded table").at(
            file=path
        ) from error
    except (gzip.BadGzipFile, zipfile.BadZipFile, EOFError, zlib.error) as error:
        refuse(path, f"the archive is damaged: {error}", remedy="download it again")


def _member(path: Path, archive: zipfile.ZipFile) -> str:
    tables = [name for name in archive.namelist() if name.lower().endswith(_TABLES)]
    if len(tables) != 1:
        refuse(
            path, f"holds {len(tables)} tables, not one: {', '.join(tables[:4])}", remedy="unpack it and name one table"
        )
    return tables[0]
