"""CSV files, block by block, with types that the names decide and not the first rows."""

from __future__ import annotations

import csv
import gzip
import io
import sys
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, cast

import pyarrow as pa
from pyarrow import csv as arrow

from phenostream.errors import DamagedError, ForbiddenError, HostileError, NotFoundError, TooLargeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MAX_COLUMNS = 100_000
MAX_LINE = 64 << 20
_BLOCK = 8 << 20
MISSING = ["", "nan", "NaN", "NAN", "-nan", "NA", "N/A", "null", "None", "inf", "-inf", "Inf", "-Inf"]


def header(path: Path) -> list[str]:
    """The names in the first line.

    Raises:
        NotFoundError: no such file.
        DamagedError: empty, not text, or a name that stands twice.
        TooLargeError: more than 100,000 columns, or a first line of more than 64 MiB.
    """
    with opened(path) as stream:
        line = stream.readline(MAX_LINE + 1)
    if len(line) > MAX_LINE:
        raise TooLargeError(f"the first line of {path} has more than {MAX_LINE >> 20} MiB", remedy="is it a table?")
    try:
        names = next(csv.reader(io.StringIO(line.decode("utf-8-sig")), delimiter=delimiter(path)), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise DamagedError(f"{path} is not a CSV file: {error}") from error
    if not names:
        raise DamagedError(f"{path} has no header", remedy="the first line must name the columns")
    if len(names) > MAX_COLUMNS:
        raise TooLargeError(f"{path} has {len(names)} columns", remedy=f"at most {MAX_COLUMNS} are read")
    if len(set(names)) < len(names):
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise DamagedError(f"{path} has two columns {twice!r}", remedy="rename one of them")
    return names


def blocks(path: Path, type_of: Callable[[str], Any]) -> Iterator[pa.Table]:
    """The rows of `path`, some megabytes at a time; at least one table.

    Args:
        path: a ``.csv`` or ``.tsv``, gzipped where its name ends in ``.gz``.
        type_of: the Arrow type of the column with a name; a value that does not fit it is damage, never a guess.

    Raises:
        DamagedError: a row with another number of values, or a value of another type; with row or column.
        HostileError: a row of more than 8 MiB, such as a gzipped file that unfolds without end.
    """
    names = header(path)
    convert = arrow.ConvertOptions(
        column_types={name: type_of(name) for name in names}, null_values=MISSING, strings_can_be_null=True,
        quoted_strings_can_be_null=True,
    )  # fmt: skip
    read = arrow.ReadOptions(use_threads=False, block_size=_BLOCK, column_names=names, skip_rows=1)
    # Outlines in numpy's text form have line breaks, and one of them may lie where a block ends.
    parse = arrow.ParseOptions(delimiter=delimiter(path), newlines_in_values=True)
    with opened(path) as stream, _named(path):
        empty = True
        if stream.peek(1) if isinstance(stream, io.BufferedReader) else True:
            with arrow.open_csv(stream, read, parse, convert) as reader:
                for batch in reader:
                    empty = False
                    yield pa.Table.from_batches([batch])
        if empty:
            yield pa.schema([pa.field(name, type_of(name)) for name in names]).empty_table()


def delimiter(path: Path) -> str:
    """Tab for ``.tsv`` and ``.txt``, comma otherwise."""
    return "\t" if path.name.removesuffix(".gz").endswith((".tsv", ".txt")) else ","


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked; what cannot be read is named."""
    try:
        with path.open("rb") as file:
            if path.suffix == ".gz":
                with gzip.GzipFile(fileobj=file) as packed:
                    yield cast("IO[bytes]", io.BufferedReader(packed))
            else:
                yield file
    except FileNotFoundError as error:
        raise NotFoundError(f"no table at {path}") from error
    except PermissionError as error:
        raise ForbiddenError(f"cannot read {path}", remedy="change its permissions") from error
    except (gzip.BadGzipFile, EOFError) as error:
        raise DamagedError(f"{path} is damaged: {error}", remedy="copy it again") from error


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except pa.ArrowInvalid as error:
        first = str(error).splitlines()[0]
        if "straddling" in first:
            raise HostileError(
                f"{path} has a row of more than {_BLOCK >> 20} MiB", remedy="is it a table? is a quote left open?"
            ) from error
        if "Empty CSV" in first:
            return
        remedy = "correct that row" if "Expected" in first else "correct the value, or leave the column out"
        raise DamagedError(f"{path}: {first[:300]}", remedy=remedy) from error


csv.field_size_limit(min(sys.maxsize, MAX_LINE))
