"""One table of rows: CSV or Parquet, as pycytominer, CytoTable and spreadsheets write them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import Field

from phenostream.errors import NotFoundError
from phenostream.profiles.operating import Names, OperationSettings
from phenostream.profiles.readers._csv import blocks, header
from phenostream.profiles.roles import COMPARTMENTS, column_of, described
from phenostream.profiles.tables import Mapped, open_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from phenostream.profiles.tables import Source

_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".parquet")


class Settings(OperationSettings):
    """What the names do not say."""

    features: Names = Field((), description="columns that are features although their names do not say so")
    compartments: Names = Field(COMPARTMENTS, description="first words of names that mean an object")


def recognises(path: Path) -> bool:
    """Whether it is a table by its suffix."""
    return path.is_file() and path.name.lower().endswith(_SUFFIXES)


def read(path: Path, settings: Settings) -> Source:
    """The rows of one file. Features are float64 (float32 stays), all else is text in a CSV, typed in a Parquet file.

    Text keeps what numbers lose: plate 0012 stays 0012.
    """
    if path.name.endswith(".parquet"):
        plain = open_table(path)
        told = described(plain.schema().empty_table(), features=settings.features, compartments=settings.compartments)
        return Mapped(plain, told.schema, _cast_to(told.schema), lambda names: names)
    return Csv((path,), settings)


def read_plain(path: Path) -> pa.Table:
    """A small table without roles, such as a plate map; every column of a CSV is text. Raises NotFoundError."""
    if not path.is_file():
        raise NotFoundError(f"no table at {path}", remedy="give a CSV, TSV or Parquet file")
    if path.suffix == ".parquet":
        return pa.concat_tables(list(open_table(path).tables()))
    return pa.concat_tables(list(blocks(path, lambda _: pa.string())))


@dataclass(frozen=True, slots=True)
class Csv:
    """CSV files of the same columns, one after the other."""

    paths: tuple[Path, ...]
    settings: Settings

    def schema(self) -> pa.Schema:
        """Columns and roles, from the header of the first file."""
        empty = pa.schema([pa.field(name, self._type(name)) for name in header(self.paths[0])]).empty_table()
        return described(empty, features=self.settings.features, compartments=self.settings.compartments).schema

    def count(self) -> int:
        """Rows; reads the files."""
        return sum(table.num_rows for table in self.tables(self.schema().names[:1]))

    def tables(self, names: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Some megabytes at a time; a column that a later file lacks is null."""
        from phenostream.profiles.schema import conform  # noqa: PLC0415

        whole = self.schema()
        schema = whole if names is None else pa.schema([whole.field(name) for name in names])
        for path in self.paths:
            for table in blocks(path, self._type):
                yield conform(table, schema)

    def _type(self, name: str) -> Any:
        told = column_of(name, compartments=self.settings.compartments)
        feature = name in self.settings.features or told.role in ("feature", "qc") or told.positional
        return pa.float64() if feature else pa.string()


def _cast_to(schema: pa.Schema) -> Any:
    def change(table: pa.Table, names: Sequence[str]) -> pa.Table:
        return table.select(list(names)).cast(pa.schema([schema.field(name) for name in names]))

    return change


def chosen(source: Source, names: Sequence[str]) -> Source:
    """`source` with only the columns `names`."""
    schema = source.schema()
    left = pa.schema([schema.field(name) for name in names])
    return Mapped(source, left, lambda table, wanted: table.select(list(wanted)), lambda wanted: wanted)
