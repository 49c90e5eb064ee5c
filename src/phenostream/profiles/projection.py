"""Fitted linear maps of feature vectors, one a group: a table that can be saved, read again, and applied."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from phenostream.errors import DamagedError, NotFoundError, RecipeError
from phenostream.profiles.groups import Groups
from phenostream.profiles.statistics import matrix
from phenostream.profiles.tables import Mapped, numbers, require
from phenostream.values import Column, columns_of, with_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from phenostream.profiles.tables import Source

_KEY = b"phenostream.projection"


@dataclass(frozen=True, slots=True)
class Projection:
    """``(x - centre) @ weights`` by group.

    Attributes:
        groups: the groups.
        names: the features that go in, d of them.
        made: the features that come out, k of them.
        centre: (groups, d).
        weights: (groups, d, k).
    """

    groups: Groups
    names: list[str]
    made: list[str]
    centre: NDArray[np.float64]
    weights: NDArray[np.float64]

    def table(self, schema: pa.Schema) -> pa.Table:
        """One row a group and feature: the keys (typed as in `schema`), feature, centre, weights (a list)."""
        size, width = len(self.names), len(self.made)
        index = pa.array(np.repeat(np.arange(len(self.groups.keys)), size))
        keys = {name: column.take(index) for name, column in self.groups.columns(schema).items()}
        flat = pa.array(self.weights.ravel(), pa.float64())
        made = pa.table({
            **keys,
            "feature": pa.array(self.names * len(self.groups.keys), pa.string()),
            "centre": self.centre.ravel(),
            "weights": pa.FixedSizeListArray.from_arrays(flat, width),
        })  # fmt: skip
        return made.replace_schema_metadata({_KEY: json.dumps({"made": self.made}).encode()})

    @classmethod
    def read(cls, table: pa.Table) -> Projection:
        """What :meth:`table` wrote. Raises DamagedError where it is something else."""
        told = (table.schema.metadata or {}).get(_KEY)
        if told is None or not {"feature", "centre", "weights"} <= set(table.column_names):
            raise DamagedError("no fitted projection in this table", remedy="fit anew")
        made = json.loads(told)["made"]
        by = tuple(name for name in table.column_names if name not in ("feature", "centre", "weights"))
        names = [str(name) for name in dict.fromkeys(table.column("feature").to_pylist())]
        first = table.select(list(by)).take(np.arange(0, table.num_rows, len(names)))
        keys = [tuple(row.values()) for row in first.to_pylist()] if by else [()]
        lists: Any = table.column("weights").combine_chunks()
        flat = pc.list_flatten(lists).to_numpy()
        centre = table.column("centre").to_numpy().reshape(len(keys), len(names))
        return cls(Groups(by, keys), names, made, centre, flat.reshape(len(keys), len(names), len(made)))


def projected(source: Source, fitted: Projection) -> Source:
    """The rows of `source` with the features that go in replaced by those that come out, when they are read.

    Under their own names the features stay where they stand; new ones follow the other columns. All become float64.
    """
    schema = source.schema()
    require(schema, [*fitted.names, *fitted.groups.by])
    told = _told(schema, fitted)
    place = {name: index for index, name in enumerate(fitted.made)}

    def needs(names: Sequence[str]) -> Sequence[str]:
        plain = [name for name in names if name not in place]
        return list(dict.fromkeys([*plain, *([*fitted.names, *fitted.groups.by] if len(plain) < len(names) else [])]))

    def change(table: pa.Table, names: Sequence[str]) -> pa.Table:
        values = _values(table, fitted) if any(name in place for name in names) else np.zeros((0, 0))
        arrays = [pa.array(values[:, place[name]]) if name in place else table.column(name) for name in names]
        return pa.table(arrays, schema=pa.schema([told.field(name) for name in names]))

    return Mapped(source, told, change, needs)


def refuse_missing(source: Source, names: Sequence[str]) -> None:
    """Refuse features of which any row has no number. Raises RecipeError naming them, with counts."""
    missing = dict.fromkeys(names, 0)
    for table in source.tables(names):
        for name in names:
            missing[name] += int(np.isnan(numbers(table.column(name))).sum())
    holes = {name: count for name, count in missing.items() if count}
    if holes:
        first = next(iter(holes))
        raise RecipeError(
            f"{len(holes)} features have missing values, first {first} in {holes[first]:,} rows",
            remedy="leave them out with `select`, operation missing (cutoff 0), before this step",
        )


def _told(schema: pa.Schema, fitted: Projection) -> pa.Schema:
    known = {column.name: column for column in columns_of(schema)}
    if fitted.made == fitted.names:
        fields = [field.with_type(pa.float64()) if field.name in set(fitted.names) else field for field in schema]
        return pa.schema(fields)
    rest = [field for field in schema if field.name not in set(fitted.names)]
    bare = pa.schema([*rest, *(pa.field(name, pa.float64()) for name in fitted.made)])
    new = [Column(name, "feature", family="Component", unit="1") for name in fitted.made]
    return with_columns(bare.empty_table(), [*(known[field.name] for field in rest), *new]).schema


def _values(table: pa.Table, fitted: Projection) -> NDArray[np.float64]:
    codes = fitted.groups.codes(table, grow=False)
    if (codes < 0).any():
        stray = Groups(fitted.groups.by)
        stray.codes(table.filter(pa.array(codes < 0)))
        raise NotFoundError(f"nothing was fitted for {stray.label(0)}", remedy="fit on a table that has it")
    values = matrix(table, fitted.names)
    if len(fitted.groups.keys) == 1:
        return np.asarray((values - fitted.centre[0]) @ fitted.weights[0])
    made = np.empty((len(values), len(fitted.made)))
    for code in np.unique(codes):
        rows = codes == code
        made[rows] = (values[rows] - fitted.centre[code]) @ fitted.weights[code]
    return made
