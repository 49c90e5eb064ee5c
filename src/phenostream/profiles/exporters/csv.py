"""One CSV table, gzipped where the name ends in ``.gz``, to a file or a binary stream."""

from __future__ import annotations

import csv
import io
import json
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow
from pydantic import BaseModel, ConfigDict, Field

from phenostream.profiles.read import iter_profiles
from phenostream.profiles.schema import View, is_outline
from phenostream.profiles.writing import compressed, replacing

if TYPE_CHECKING:
    from collections.abc import Iterator


class Settings(BaseModel):
    """What the table holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    view: View = Field("all", description="which columns: all, features or model")
    outlines: bool = Field(False, description="outlines too, as JSON lists in one cell each")


def write(run: Path, out: Path | IO[bytes], settings: Settings) -> list[Path]:
    """Header and one line an object; missing values are empty, floats are written so that they read back equal."""
    if not isinstance(out, Path):
        _write(run, out, settings)
        return []
    with replacing(out) as temporary, temporary.open("wb") as file, _packed(file, out) as stream:
        _write(run, stream, settings)
    return [out]


def lines(table: pa.Table, sink: IO[bytes], *, header: bool) -> None:
    """Append the rows of `table` (no lists) to `sink` as CSV."""
    if header:
        names = io.StringIO()
        csv.writer(names, lineterminator="\n").writerow(table.column_names)
        sink.write(names.getvalue().encode())
    arrow.write_csv(_blank(table), sink, arrow.WriteOptions(include_header=False))


def _write(run: Path, stream: IO[bytes], settings: Settings) -> None:
    header = True
    for table in iter_profiles(run, view=settings.view):
        lines(_flat(table, keep=settings.outlines), stream, header=header)
        header = False


@contextmanager
def _packed(file: IO[bytes], out: Path) -> Iterator[IO[bytes]]:
    if out.suffix == ".gz":
        with compressed(file) as packed:
            yield packed
    else:
        yield file


def _flat(table: pa.Table, *, keep: bool) -> pa.Table:
    for place, field in reversed(list(enumerate(table.schema))):
        if is_outline(field) and keep:
            texts = [json.dumps(value, separators=(",", ":")) for value in table.column(place).to_pylist()]
            table = table.set_column(place, field.name, pa.array(texts, pa.string()))
        elif is_outline(field):
            table = table.remove_column(place)
    return table


def _blank(table: pa.Table) -> pa.Table:
    """NaN as null: both are written as nothing, which every reader takes for a missing number."""
    for place, field in enumerate(table.schema):
        if pa.types.is_floating(field.type):
            values = table.column(place)
            table = table.set_column(place, field, pc.if_else(pc.is_nan(values), None, values))
    return table
