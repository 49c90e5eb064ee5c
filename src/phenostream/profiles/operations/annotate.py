"""Annotate: what a plate map says of each well, joined to the rows."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (pydantic reads it)
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import ConfigDict, Field

from phenostream.errors import RecipeError
from phenostream.profiles.groups import Groups, as_text
from phenostream.profiles.operating import Names, OperationSettings, Outcome
from phenostream.profiles.readers.table import read_plain
from phenostream.profiles.tables import Mapped, require
from phenostream.sources.wells import normal
from phenostream.values import Column, with_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phenostream.profiles.tables import Source


class Settings(OperationSettings):
    """The plate map, and what stands for what."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    table: Path | pa.Table = Field(description="plate map: a CSV, TSV or Parquet file (in Python also a pyarrow.Table)")
    match: dict[str, str] = Field(
        {"Metadata_Well": "well_position"}, min_length=1, description="column of the rows: column of the plate map"
    )
    columns: Names = Field((), description="columns of the plate map to take; none: all but the keys")
    wells: Names = Field(
        ("Metadata_Well",), description="key columns that are wells: A04 and A4 are the same there; others as text"
    )
    unmatched: Literal["refuse", "keep", "drop"] = Field(
        "refuse",
        description="rows the plate map does not know: an error, kept with missing values, or left out; counted",
    )


def operate(source: Source, settings: Settings, fitted: pa.Table | None = None) -> Outcome:
    """The rows with the plate map's columns as ``Metadata_<name>``, after the columns there are; order is kept.

    Told: ``rows``, ``unmatched_rows``, ``unmatched`` (their keys, up to 20), ``unused`` plate map entries.

    Raises:
        RecipeError: a key stands twice in the plate map, a new column is there already, or rows are unmatched.
        NotFoundError: no plate map, or a column is missing.
    """
    del fitted
    platemap = settings.table if isinstance(settings.table, pa.Table) else read_plain(settings.table)
    require(source.schema(), list(settings.match))
    require(platemap.schema, [*settings.match.values(), *settings.columns])
    added = _added(platemap, source.schema(), settings)
    entries = _entries(platemap, settings)
    rows, lost, strays, used = _count(source, entries, settings)
    if lost and settings.unmatched == "refuse":
        raise RecipeError(
            f"the plate map does not know {lost:,} of {rows:,} rows, first {next(iter(strays))}",
            remedy="complete it, or set `unmatched` to keep or drop",
        )
    told = {
        "rows": rows, "unmatched_rows": lost, "unmatched": [list(key) for key in list(strays)[:20]],
        "unused": len(entries) - len(used),
    }  # fmt: skip
    left = rows - lost if settings.unmatched == "drop" else rows
    return Outcome(_joined(source, added, entries, settings, left), told)


def _added(platemap: pa.Table, schema: pa.Schema, settings: Settings) -> pa.Table:
    keys = set(settings.match.values())
    names = settings.columns or [name for name in platemap.column_names if name not in keys]
    new = [name if name.startswith("Metadata_") else f"Metadata_{name}" for name in names]
    if clash := sorted(set(new) & set(schema.names)):
        raise RecipeError(
            f"the rows already have a column {clash[0]}", remedy="choose `columns` without it, or rename it"
        )
    made = platemap.select(list(names)).rename_columns(new)
    return with_columns(made, [Column(name, "metadata") for name in new])


def _entries(platemap: pa.Table, settings: Settings) -> dict[tuple[Any, ...], int]:
    entries: dict[tuple[Any, ...], int] = {}
    for place, key in enumerate(_keys(platemap, list(settings.match.values()), settings)):
        if key in entries:
            raise RecipeError(
                f"{key} stands twice in the plate map", remedy="one line a well; name the plate in `match` too"
            )
        entries[key] = place
    return entries


def _keys(table: pa.Table, names: Sequence[str], settings: Settings) -> list[tuple[Any, ...]]:
    columns = [
        [_well(text) if told in settings.wells else text for text in as_text(table.column(name)).to_pylist()]
        for name, told in zip(names, settings.match, strict=True)
    ]
    return list(zip(*columns, strict=True))


def _well(text: str | None) -> str | None:
    try:
        return normal(text) if text else text
    except RecipeError:
        return text


def _places(table: pa.Table, entries: dict[tuple[Any, ...], int], settings: Settings) -> Any:
    """(n,) line of the plate map of each row, -1 where there is none, and the distinct keys met."""
    groups = Groups(tuple(settings.match))
    codes = groups.codes(table)
    if not groups.keys:
        return np.zeros(0, np.int64), []
    schema = table.schema
    keys = _keys(pa.table(groups.columns(schema)), list(settings.match), settings)
    return np.array([entries.get(key, -1) for key in keys])[codes], keys


def _count(
    source: Source, entries: dict[tuple[Any, ...], int], settings: Settings
) -> tuple[int, int, dict[tuple[Any, ...], None], set[int]]:
    strays: dict[tuple[Any, ...], None] = {}
    rows, lost, used = 0, 0, set[int]()
    for table in source.tables(list(settings.match)):
        places, keys = _places(table, entries, settings)
        rows, lost = rows + len(places), lost + int((places < 0).sum())
        strays |= {key: None for key in keys if key not in entries}
        used |= set(np.unique(places).tolist()) - {-1}
    return rows, lost, strays, used


def _joined(
    source: Source, added: pa.Table, entries: dict[tuple[Any, ...], int], settings: Settings, rows: int
) -> Source:
    told = pa.schema([*source.schema(), *added.schema])
    new = set(added.column_names)

    def needs(names: Sequence[str]) -> Sequence[str]:
        return list(dict.fromkeys([*(name for name in names if name not in new), *settings.match]))

    def change(table: pa.Table, names: Sequence[str]) -> pa.Table:
        places, _ = _places(table, entries, settings)
        if settings.unmatched == "drop":
            table, places = table.filter(pa.array(places >= 0)), places[places >= 0]
        taken = added.take(pa.array(places, pa.int64(), mask=places < 0))
        arrays = [taken.column(name) if name in new else table.column(name) for name in names]
        return pa.table(arrays, schema=pa.schema([told.field(name) for name in names]))

    return Mapped(source, told, change, needs, rows=rows)
