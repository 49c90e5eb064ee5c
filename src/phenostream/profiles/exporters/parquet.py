"""One Parquet file of the whole run, in row groups of about 65,536 rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from phenostream.profiles.parts import writer_options
from phenostream.profiles.read import iter_profiles
from phenostream.profiles.schema import View, is_outline
from phenostream.profiles.writing import replacing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


class Settings(BaseModel):
    """What the file holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    view: View = Field("all", description="which columns: all, features or model")
    outlines: bool = Field(True, description="outlines too, as lists")
    rows: int = Field(65_536, ge=1, le=1 << 20, description="rows a row group, about")


def write(run: Path, out: Path, settings: Settings) -> list[Path]:
    """Roles in the schema, page checksums on; columns as :func:`phenostream.profiles.read_profiles` gives them."""
    tables = (_chosen(table, settings) for table in iter_profiles(run, view=settings.view))
    with replacing(out) as temporary:
        groups = _gathered(tables, settings.rows)
        first = next(groups)
        with pq.ParquetWriter(temporary, first.schema, **writer_options(first.schema)) as writer:
            writer.write_table(first)
            for table in groups:
                writer.write_table(table)
    return [out]


def _chosen(table: pa.Table, settings: Settings) -> pa.Table:
    if settings.outlines:
        return table
    return table.drop_columns([field.name for field in table.schema if is_outline(field)])


def _gathered(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Tables of at least `rows` rows, but for the last."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(one.num_rows for one in waiting) >= rows:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()
