"""Annotation tables: what a CSV says of plates, wells and sites."""

from __future__ import annotations

import csv
import gzip
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from phenostream.errors import DamagedError, NotFoundError, RecipeError
from phenostream.sources.stores import open_store
from phenostream.sources.wells import normal, well_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from phenostream.values import Store

# The names that tables use for the same thing, lower case, without the prefix "metadata_".
_NAMES = {
    "plate": ("plate", "plate_id", "plate_name", "image_metadata_plate", "assay_plate_barcode"),
    "well": ("well", "well_position", "well_name", "image_metadata_well"),
    "row": ("row", "well_row"),
    "column": ("column", "col", "well_column", "well_col"),
    "site": ("site", "field", "fov"),
    "experiment": ("experiment",),
}


@dataclass(frozen=True, slots=True)
class Annotations:
    """Rows of a table by what they are about.

    Attributes:
        by: which parts of an identity the rows are about (``plate``, ``well``, ``site``, ``experiment``), in order.
        rows: the other columns of each row.
    """

    by: tuple[str, ...]
    rows: Mapping[tuple[str, ...], Mapping[str, str]]

    def of(self, parts: Mapping[str, str]) -> Mapping[str, str]:
        """What is said of the image with these `parts`; empty where nothing is."""
        return self.rows.get(tuple(plain(parts.get(name, "")) for name in self.by), {})


def parse(data: bytes, name: str, parts: Iterable[str]) -> Annotations:
    """The table `data` (CSV or TSV by `name`, gzip by content), joined on those of `parts` that it has columns for.

    Raises DamagedError where it is not text with a header, RecipeError where it has no column to join on or says two
    different things of one image.
    """
    lines = rows(data, name)
    columns = {key: column for key in _NAMES if (column := _column(lines[0], key))}
    split = "well" not in columns and {"row", "column"} <= columns.keys()
    known = (columns.keys() | {"well"} if split else columns.keys()) & {*parts}
    by = tuple(key for key in ("experiment", "plate", "well", "site") if key in known)
    if not by:
        raise RecipeError(f"{name} has no column to join on", remedy="it needs plate, well, or row and column")
    used = {columns[key] for key in (*by, *(("row", "column") if split else ())) if key in columns}
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for row in lines:
        place = tuple(plain(_value(row, columns, key)) for key in by)
        told = {key: value for key, value in row.items() if key not in used and value}
        if found.setdefault(place, told) != told:
            raise RecipeError(
                f"{name} says two things of {' '.join(place)}", remedy=f"rows must differ in {', '.join(by)}"
            )
    return Annotations(by, found)


def read(where: str, store: Store, *, setting: str) -> bytes:
    """The bytes of a table at a local path, a URL, or a key of `store`.

    Raises:
        NotFoundError: no such table; the remedy names the `setting` that says where it is.
    """
    if "://" in where:
        folder, _, name = where.rpartition("/")
        return open_store(folder).read(name)
    path = Path(where)
    if path.is_file():
        return path.read_bytes()
    if path.is_absolute():
        raise NotFoundError(f"there is no table {path}", remedy=f"correct {setting} in the source's settings")
    return store.read(where)


def rows(data: bytes, name: str) -> list[dict[str, str]]:
    """The rows of a table with a header, each value as text; what is missing is empty. All in memory: see `each_row`.

    Raises:
        DamagedError: not such a table, or no row.
    """
    return list(each_row(data, name))


def each_row(data: bytes, name: str) -> Iterator[dict[str, str]]:
    """The rows of a table one by one: Parquet, CSV or TSV by `name`, gzip by content. Raises as `rows` does."""
    count = 0
    try:
        for row in _parquet_rows(data) if name.endswith(".parquet") else _text_rows(data, name):
            count += 1
            yield row
    except (UnicodeDecodeError, csv.Error, OSError, EOFError, ValueError) as error:
        raise DamagedError(
            f"{name} is not a table: {error}", remedy="fetch it again, or save it as CSV in UTF-8"
        ) from error
    if not count:
        raise DamagedError(f"{name} has no rows", remedy="it needs a header and at least one row")


def _text_rows(data: bytes, name: str) -> Iterator[dict[str, str]]:
    unpacked = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    text = io.StringIO(unpacked.decode("utf-8-sig"), newline="")
    separator = "\t" if name.removesuffix(".gz").endswith((".tsv", ".txt")) else ","
    for row in csv.DictReader(text, delimiter=separator):
        yield {str(key): value or "" for key, value in row.items() if key}


def _parquet_rows(data: bytes) -> Iterator[dict[str, str]]:
    import pyarrow as pa  # noqa: PLC0415  (most tables are text)
    import pyarrow.parquet as pq  # noqa: PLC0415

    # Without threads, which may let go of these bytes after the interpreter ended, and that aborts.
    file = pq.ParquetFile(pa.BufferReader(data))
    for batch in file.iter_batches(use_threads=False):
        for row in batch.to_pylist():
            yield {key: "" if value is None else str(value) for key, value in row.items()}


def _column(row: Mapping[str, str], key: str) -> str:
    for column in row:
        if name_of(column) in _NAMES[key]:
            return column
    return ""


def _value(row: Mapping[str, str], columns: Mapping[str, str], key: str) -> str:
    if key != "well":
        return row[columns[key]]
    return normal(row[columns["well"]]) if "well" in columns else well_name(row[columns["row"]], row[columns["column"]])


def name_of(column: str) -> str:
    """A column's name as it is compared: lower case, without the prefix ``Metadata_``."""
    return column.strip().lower().replace(" ", "_").removeprefix("metadata_")


def plain(value: str) -> str:
    """`value` as it is compared: numbers without leading zeros."""
    return str(int(value)) if value.isdecimal() else value
