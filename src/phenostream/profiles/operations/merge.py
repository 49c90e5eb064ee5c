"""Merge: the rows of two programs about the same cells, joined one to one by where the cells lie."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path  # noqa: TC003  (pydantic reads it)
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import ByteSize, ConfigDict, Field

from phenostream.errors import RecipeError
from phenostream.profiles.groups import Groups, as_text
from phenostream.profiles.growing import Growing
from phenostream.profiles.kernels import grouped_order
from phenostream.profiles.matching import match_points
from phenostream.profiles.operating import Names, OperationSettings, Outcome
from phenostream.profiles.side_by_side import Joined, Pairs
from phenostream.profiles.statistics import matrix, refuse_above
from phenostream.profiles.tables import open_table, require
from phenostream.values import Column, columns_of, with_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from phenostream.profiles.tables import Source

DISTANCE = "Metadata_Match_Distance"
_REASONS = ("no-field", "no-place", "unmatched")


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
        ByteSize(2 << 30),
        description="bytes for the places of all cells (about 44 each, 130 of one without partner); then for rows"
        " of the other table where its fields come in another order",
    )


#: Bytes of a row while pairs are sought: its field and place; and its order, partner, distance and pair beside them.
_PLACE, _PAIRING = 20, 24
#: Bytes of a pair, and of what tells about a row without partner beside the text of its keys.
_PAIR, _ALONE = 24, 96


@dataclass(frozen=True, slots=True)
class _Side:
    """Field and place of every row of one table.

    Attributes:
        codes: (n,) number of the row's field.
        points: (n, 2) x and y, NaN where there is none.
    """

    codes: NDArray[np.int32]
    points: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.codes)

    def placed(self, start: int = 0, stop: int | None = None) -> NDArray[np.bool_]:
        """Whether each row has a place."""
        return np.asarray(~np.isnan(self.points[start:stop]).any(axis=1))


def operate(source: Source, settings: Settings, fitted: pa.Table | None = None) -> Outcome:
    """Pairs of rows, each row in one pair at most, chosen field by field.

    In a field the sum of distances is made least, where a cell left alone counts as half of `limit` on its side: the
    optimal assignment, found by the Hungarian method. No pair lies further apart than `limit`. The pairs stand in the
    order of these rows.

    Both tables are read twice, and only fields and places of all cells are held (about 44 bytes a cell of either table,
    130 of one without partner); rows are joined piece by piece when they are read. Where the other table has its
    fields in another order, as many of its rows are held as `memory` has room for, and it is read again for the next
    ones.

    Returns:
        The keys, both tables' other columns with their prefixes, and ``Metadata_Match_Distance`` (pixels). Rejected:
        every unmatched row with ``side`` (the prefix), ``row``, keys, ``x``, ``y`` and ``reason``: ``no-field`` (the
        other table has no such field), ``no-place`` (no coordinates), ``unmatched``. Told: ``pairs``, ``fields``,
        ``unmatched`` by side and reason, ``median_distance``, ``largest_distance``.

    Raises:
        RecipeError: the same columns on both sides and no prefixes to tell them apart.
        NotFoundError: a column that is not there.
        OverBudgetError: fields and places of all cells need more than `memory`.
    """
    del fitted
    return merged(source, open_table(settings.table), settings)


def merged(source: Source, other: Source, settings: Settings) -> Outcome:
    """As :func:`operate`, with any other rows."""
    schema, renamed = _schema(source, other, settings)
    groups = Groups(settings.by)
    places = (settings.places, settings.other_places or settings.places)
    left = _side(source, places[0], groups, settings, rows=0)
    right = _side(other, places[1], groups, settings, rows=len(left))
    rows = len(left) + len(right)
    _refuse_above(settings.memory, (_PLACE + _PAIRING) * rows, rows)
    pairs = _pairs(left, right, len(groups.keys), settings.limit)
    _refuse_above(settings.memory, _needed(rows, len(pairs.first), groups), rows)
    told_apart = zip((left, right), (right, left), (pairs.first, pairs.second), settings.prefixes, strict=True)
    alone = [_alone(side, opposite, taken, groups, prefix) for side, opposite, taken, prefix in told_apart]
    told = {
        "pairs": len(pairs.first),
        "fields": len(groups.keys),
        "unmatched": {prefix: _reasons(table) for prefix, table in zip(settings.prefixes, alone, strict=True)},
        "median_distance": float(np.median(pairs.distances)) if len(pairs.first) else None,
        "largest_distance": float(pairs.distances.max()) if len(pairs.first) else None,
    }
    joined = Joined(source, other, pairs, schema, *renamed, DISTANCE, settings.memory - _PAIR * len(pairs.first))
    return Outcome(joined, told, rejected=pa.concat_tables(alone))


def _needed(rows: int, pairs: int, groups: Groups) -> int:
    """Bytes while the rows without partner are told."""
    text = sum(4 + max((len(str(key[place]).encode()) for key in groups.keys), default=0)
               for place in range(len(groups.by)))  # fmt: skip
    return _PLACE * rows + _PAIR * pairs + (_ALONE + text) * (rows - 2 * pairs)


def _refuse_above(memory: int, need: int, rows: int) -> None:
    what = f"the places of {rows:,} cells of both tables need"
    refuse_above(memory, need, what, remedy="raise `memory`, or merge plate by plate")


def _side(source: Source, places: tuple[str, str], groups: Groups, settings: Settings, *, rows: int) -> _Side:
    """Fields and places of `source`, where `rows` are held already."""
    require(source.schema(), [*settings.by, *places])
    codes, points = Growing(np.int32), Growing(np.float64, (2,))
    for table in source.tables(list(dict.fromkeys([*settings.by, *places]))):
        held = rows + len(codes) + table.num_rows
        _refuse_above(settings.memory, _PLACE * held, held)
        # Keys are compared as text: one program's site 1 is the other's "1".
        keys = pa.table({name: as_text(table.column(name)) for name in settings.by})
        codes.add(groups.codes(keys))
        points.add(matrix(table, places))
    return _Side(codes.taken(), points.taken())


def _pairs(left: _Side, right: _Side, groups: int, limit: float) -> Pairs:
    partner, away = np.full(len(left), -1, np.int32), np.empty(len(left))
    for mine, theirs in zip(_by_group(left, groups), _by_group(right, groups), strict=True):
        if len(mine) and len(theirs):
            one, two, distances = match_points(left.points[mine], right.points[theirs], limit)
            partner[mine[one]], away[mine[one]] = theirs[two], distances
    first = np.flatnonzero(partner >= 0)
    return Pairs(first, partner[first].astype(np.int64), away[first])


def _by_group(side: _Side, groups: int) -> Iterator[NDArray[np.int32]]:
    """Row numbers of each group, those without a place left out."""
    codes = np.where(side.placed(), side.codes, np.int32(groups))
    starts = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=groups + 1))])
    order = np.empty(len(codes), np.int32)
    grouped_order(codes, starts, order)
    del codes
    for start, stop in pairwise(starts[:-1]):
        yield order[start:stop]


def _alone(side: _Side, other: _Side, taken: NDArray[np.int64], groups: Groups, prefix: str) -> pa.Table:
    left = np.ones(len(side), bool)
    left[taken] = False
    rows = np.flatnonzero(left)
    there = np.zeros(len(groups.keys), bool)
    there[other.codes] = True
    codes = side.codes[rows]
    points = side.points[rows]
    word = np.where(~there[codes], 0, np.where(np.isnan(points).any(axis=1), 1, 2)).astype(np.int8)
    keys = {
        name: pa.array([key[place] for key in groups.keys], pa.string()).take(codes)
        for place, name in enumerate(groups.by)
    }
    return pa.table({
        "side": pa.repeat(pa.scalar(prefix, pa.string()), len(rows)), "row": rows, **keys,
        "x": points[:, 0].copy(), "y": points[:, 1].copy(), "reason": pa.array(_REASONS, pa.string()).take(word),
    })  # fmt: skip


def _reasons(table: pa.Table) -> dict[str, int]:
    counts: Any = table.column("reason").value_counts()
    return dict(sorted((one["values"], one["counts"]) for one in counts.to_pylist()))


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
