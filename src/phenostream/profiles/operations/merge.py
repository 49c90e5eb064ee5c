"""Merge: the rows of two programs about the same cells, joined one to one by where the cells lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  (pydantic reads it)
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import ConfigDict, Field

from phenostream.errors import RecipeError
from phenostream.profiles.groups import Groups
from phenostream.profiles.matching import match_points
from phenostream.profiles.operating import Names, OperationSettings, Outcome
from phenostream.profiles.statistics import matrix
from phenostream.profiles.tables import Held, open_table, require, whole
from phenostream.values import Column, columns_of, with_columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phenostream.profiles.tables import Source


class Settings(OperationSettings):
    """The other table, what names a field in both, and how far apart the same cell may lie."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    table: Path | pa.Table = Field(description="the other rows: a run, Parquet file or folder (in Python also a table)")
    by: Names = Field(
        ("Metadata_Plate", "Metadata_Well", "Metadata_Site"),
        min_length=1,
        description="columns that name a field in both",
    )
    places: tuple[str, str] = Field(("Location_Center_X", "Location_Center_Y"), description="x and y, in pixels")
    other_places: tuple[str, str] | None = Field(None, description="x and y in the other table; as `places` if none")
    limit: float = Field(10.0, gt=0, description="pixels: cells further apart are not the same cell")
    prefixes: tuple[str, str] = Field(
        ("CP__", "DP__"), description="put before every column that is no key: of these rows, of the other table"
    )


@dataclass(frozen=True, slots=True)
class _Side:
    """Keys and places of one table."""

    codes: NDArray[np.int32]
    points: NDArray[np.float64]


def operate(source: Source, settings: Settings, fitted: pa.Table | None = None) -> Outcome:
    """Pairs of rows, each row in one pair at most, chosen field by field.

    In a field the sum of distances is made least, where a cell left alone counts as half of `limit` on its side: the
    optimal assignment, found by the Hungarian method. No pair lies further apart than `limit`. The pairs stand in the
    order of these rows.

    Returns:
        The keys, both tables' other columns with their prefixes, and ``Metadata_Match_Distance`` (pixels). Rejected:
        every unmatched row with ``side`` (the prefix), ``row``, keys, ``x``, ``y`` and ``reason``: ``no-field`` (the
        other table has no such field), ``no-place`` (no coordinates), ``unmatched``. Told: ``pairs``, ``fields``,
        ``unmatched`` by side and reason, ``median_distance``, ``largest_distance``. Both tables are held in memory.

    Raises:
        RecipeError: the same columns on both sides and no prefixes to tell them apart.
        NotFoundError: a column that is not there.
    """
    del fitted
    left = whole(source)
    right = settings.table if isinstance(settings.table, pa.Table) else whole(open_table(settings.table))
    places = (settings.places, settings.other_places or settings.places)
    groups = Groups(settings.by)
    sides = [_side(table, names, groups, settings) for table, names in zip((left, right), places, strict=True)]
    first, second, distances = _pairs(sides[0], sides[1], len(groups.keys), settings.limit)
    told_apart = zip(sides, sides[::-1], (first, second), settings.prefixes, strict=True)
    alone = [_alone(side, other, taken, groups, prefix) for side, other, taken, prefix in told_apart]
    told = {
        "pairs": len(first),
        "fields": len(groups.keys),
        "unmatched": {prefix: _reasons(table) for prefix, table in zip(settings.prefixes, alone, strict=True)},
        "median_distance": float(np.median(distances)) if len(first) else None,
        "largest_distance": float(distances.max()) if len(first) else None,
    }
    table = _joined(left.take(pa.array(first)), right.take(pa.array(second)), distances, settings)
    return Outcome(Held(table), told, rejected=pa.concat_tables(alone))


def _side(table: pa.Table, places: tuple[str, str], groups: Groups, settings: Settings) -> _Side:
    require(table.schema, [*settings.by, *places])
    for name in settings.by:
        place = table.schema.get_field_index(name)
        # Keys are compared as text: one program's site 1 is the other's "1".
        table = table.set_column(place, name, _text(table.column(name)))
    return _Side(groups.codes(table), matrix(table, places))


def _text(column: Any) -> Any:
    from phenostream.profiles.groups import as_text  # noqa: PLC0415

    return as_text(column)


def _pairs(left: _Side, right: _Side, groups: int, limit: float) -> tuple[Any, Any, NDArray[np.float64]]:
    found: list[tuple[Any, Any, Any]] = []
    sides = [_by_group(side, groups) for side in (left, right)]
    for number in range(groups):
        mine, theirs = sides[0][number], sides[1][number]
        if len(mine) and len(theirs):
            one, two, away = match_points(left.points[mine], right.points[theirs], limit)
            found.append((mine[one], theirs[two], away))
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    first, second, distances = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.argsort(first, kind="stable")
    return first[order], second[order], distances[order]


def _by_group(side: _Side, groups: int) -> list[NDArray[np.int64]]:
    """Row numbers of each group, those without a place left out."""
    there = np.flatnonzero(~np.isnan(side.points).any(axis=1))
    order = there[np.argsort(side.codes[there], kind="stable")]
    return np.split(order, np.searchsorted(side.codes[order], np.arange(1, groups)))


def _alone(side: _Side, other: _Side, taken: NDArray[np.int64], groups: Groups, prefix: str) -> pa.Table:
    rows = np.setdiff1d(np.arange(len(side.codes)), taken)
    fields = np.isin(side.codes[rows], other.codes)
    placed = ~np.isnan(side.points[rows]).any(axis=1)
    reasons = np.where(~fields, "no-field", np.where(placed, "unmatched", "no-place"))
    keys = {
        name: pa.array([groups.keys[code][place] for code in side.codes[rows]], pa.string())
        for place, name in enumerate(groups.by)
    }
    return pa.table({
        "side": pa.array([prefix] * len(rows), pa.string()), "row": rows, **keys,
        "x": side.points[rows, 0], "y": side.points[rows, 1], "reason": pa.array(reasons.astype(str), pa.string()),
    })  # fmt: skip


def _reasons(table: pa.Table) -> dict[str, int]:
    words, counts = np.unique(np.array(table.column("reason").to_pylist(), dtype=str), return_counts=True)
    return dict(zip(words.tolist(), counts.tolist(), strict=True))


def _joined(left: pa.Table, right: pa.Table, distances: NDArray[np.float64], settings: Settings) -> pa.Table:
    columns: dict[str, Any] = {name: left.column(name) for name in settings.by}
    told = [column for column in columns_of(left.schema) if column.name in columns]
    for table, prefix in zip((left, right), settings.prefixes, strict=True):
        for column in columns_of(table.schema):
            name = prefix + column.name
            if column.name in settings.by:
                continue
            if name in columns:
                raise RecipeError(f"both tables have a column {name}", remedy="give two different prefixes")
            columns[name] = table.column(column.name)
            told.append(_renamed(column, name))
    columns["Metadata_Match_Distance"] = distances
    return with_columns(pa.table(columns), [*told, Column("Metadata_Match_Distance", "qc", unit="px")])


def _renamed(column: Column, name: str) -> Column:
    import dataclasses  # noqa: PLC0415

    return dataclasses.replace(column, name=name)
