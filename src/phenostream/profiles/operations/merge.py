"""Merge: the rows of two programs about the same cells, joined one to one by where the cells lie."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path  # noqa: TC003  (pydantic reads it)
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import ByteSize, ConfigDict, Field

from phenostream.errors import RecipeError
from phenostream.profiles.groups import Groups, as_text
from phenostream.profiles.matching import match_points
from phenostream.profiles.operating import Names, OperationSettings, Outcome
from phenostream.profiles.side_by_side import Joined, Pairs
from phenostream.profiles.statistics import matrix
from phenostream.profiles.tables import open_table, require
from phenostream.values import Column, columns_of, with_columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from phenostream.profiles.tables import Source

DISTANCE = "Metadata_Match_Distance"


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
    memory: ByteSize = Field(
        ByteSize(2 << 30), description="bytes of the other table that are held where its fields come in another order"
    )


@dataclass(frozen=True, slots=True)
class _Side:
    """Field and place of every row of one table."""

    codes: NDArray[np.int32]
    points: NDArray[np.float64]


def operate(source: Source, settings: Settings, fitted: pa.Table | None = None) -> Outcome:
    """Pairs of rows, each row in one pair at most, chosen field by field.

    In a field the sum of distances is made least, where a cell left alone counts as half of `limit` on its side: the
    optimal assignment, found by the Hungarian method. No pair lies further apart than `limit`. The pairs stand in the
    order of these rows.

    Both tables are read twice, and only fields and places of all cells are held (about 70 bytes a cell); rows are
    joined piece by piece when they are read. Where the other table has its fields in another order, as many of its rows
    are held as `memory` has room for, and it is read again for the next ones.

    Returns:
        The keys, both tables' other columns with their prefixes, and ``Metadata_Match_Distance`` (pixels). Rejected:
        every unmatched row with ``side`` (the prefix), ``row``, keys, ``x``, ``y`` and ``reason``: ``no-field`` (the
        other table has no such field), ``no-place`` (no coordinates), ``unmatched``. Told: ``pairs``, ``fields``,
        ``unmatched`` by side and reason, ``median_distance``, ``largest_distance``.

    Raises:
        RecipeError: the same columns on both sides and no prefixes to tell them apart.
        NotFoundError: a column that is not there.
    """
    del fitted
    return merged(source, open_table(settings.table), settings)


def merged(source: Source, other: Source, settings: Settings) -> Outcome:
    """As :func:`operate`, with any other rows."""
    schema, renamed = _schema(source, other, settings)
    groups = Groups(settings.by)
    places = (settings.places, settings.other_places or settings.places)
    sides = [_side(table, names, groups, settings) for table, names in zip((source, other), places, strict=True)]
    pairs = _pairs(sides[0], sides[1], len(groups.keys), settings.limit)
    told_apart = zip(sides, sides[::-1], (pairs.first, pairs.second), settings.prefixes, strict=True)
    alone = [_alone(side, opposite, taken, groups, prefix) for side, opposite, taken, prefix in told_apart]
    told = {
        "pairs": len(pairs.first),
        "fields": len(groups.keys),
        "unmatched": {prefix: _reasons(table) for prefix, table in zip(settings.prefixes, alone, strict=True)},
        "median_distance": float(np.median(pairs.distances)) if len(pairs.first) else None,
        "largest_distance": float(pairs.distances.max()) if len(pairs.first) else None,
    }
    joined = Joined(source, other, pairs, schema, *renamed, DISTANCE, settings.memory)
    return Outcome(joined, told, rejected=pa.concat_tables(alone))


def _side(source: Source, places: tuple[str, str], groups: Groups, settings: Settings) -> _Side:
    require(source.schema(), [*settings.by, *places])
    codes, points = [], []
    for table in source.tables(list(dict.fromkeys([*settings.by, *places]))):
        # Keys are compared as text: one program's site 1 is the other's "1".
        keys = pa.table({name: as_text(table.column(name)) for name in settings.by})
        codes.append(groups.codes(keys))
        points.append(matrix(table, places))
    return _Side(np.concatenate(codes), np.concatenate(points))


def _pairs(left: _Side, right: _Side, groups: int, limit: float) -> Pairs:
    found: list[tuple[Any, Any, Any]] = []
    sides = [_by_group(side, groups) for side in (left, right)]
    for mine, theirs in zip(*sides, strict=True):
        if len(mine) and len(theirs):
            one, two, away = match_points(left.points[mine], right.points[theirs], limit)
            found.append((mine[one], theirs[two], away))
    if not found:
        return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    first, second, distances = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.argsort(first, kind="stable")
    return Pairs(first[order], second[order], distances[order])


def _by_group(side: _Side, groups: int) -> list[NDArray[np.int64]]:
    """Row numbers of each group, those without a place left out."""
    there = np.flatnonzero(~np.isnan(side.points).any(axis=1))
    order = there[np.argsort(side.codes[there], kind="stable")]
    return np.split(order, np.searchsorted(side.codes[order], np.arange(1, groups)))


def _alone(side: _Side, other: _Side, taken: NDArray[np.int64], groups: Groups, prefix: str) -> pa.Table:
    left = np.ones(len(side.codes), bool)
    left[taken] = False
    rows = np.flatnonzero(left)
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


def _schema(
    source: Source, other: Source, settings: Settings
) -> tuple[pa.Schema, tuple[Mapping[str, str], Mapping[str, str]]]:
    """Columns and roles of the result, and what each is called in these rows and in the other table."""
    schemas = source.schema(), other.schema()
    for schema in schemas:
        require(schema, settings.by)
    fields = [schemas[0].field(name) for name in settings.by]
    told = [column for column in columns_of(schemas[0]) if column.name in settings.by]
    renamed: tuple[dict[str, str], dict[str, str]] = ({name: name for name in settings.by}, {})
    known = set(settings.by)
    for schema, prefix, names in zip(schemas, settings.prefixes, renamed, strict=True):
        for column in columns_of(schema):
            if column.name in settings.by:
                continue
            name = prefix + column.name
            if name in known:
                raise RecipeError(f"both tables have a column {name}", remedy="give two different prefixes")
            known.add(name)
            names[name] = column.name
            fields.append(schema.field(column.name).with_name(name))
            told.append(replace(column, name=name))
    fields.append(pa.field(DISTANCE, pa.float64()))
    empty = pa.schema([field.remove_metadata() for field in fields]).empty_table()
    return with_columns(empty, [*told, Column(DISTANCE, "qc", unit="px")]).schema, renamed
