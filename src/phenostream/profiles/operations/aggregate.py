"""Aggregate: one row a well, site or image from the rows of its cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ByteSize, Field

from phenostream.errors import RecipeError
from phenostream.profiles.duplicates import CountedIds
from phenostream.profiles.groups import assign, plain, without_nan
from phenostream.profiles.operating import Features, Names, OperationSettings, Outcome
from phenostream.profiles.statistics import moments, orders
from phenostream.profiles.tables import Held, feature_names, require
from phenostream.values import Column, columns_of, with_columns

if TYPE_CHECKING:
    from collections.abc import Callable

    from phenostream.profiles.groups import Assigned
    from phenostream.profiles.tables import Source


class Settings(OperationSettings):
    """What belongs together, and how it is put into one."""

    by: Names = Field(("Metadata_Plate", "Metadata_Well"), min_length=1, description="columns that name a group")
    method: Literal["mean", "median"] = Field("median", description="of each feature; missing values do not count")
    features: Features = Field("model", description="model: no places; all: every feature; or a list of names")
    carry: Names = Field((), description="metadata kept beside the key: one value a group (Metadata_Gene)")
    count: str = Field("Metadata_Object_Count", description="column for the number of rows; empty: none")
    memory: ByteSize = Field(ByteSize(2 << 30), description="bytes that columns may take while medians are found")


def operate(source: Source, settings: Settings, fitted: pa.Table | None = None) -> Outcome:
    """One row a group, ordered by the key as pandas orders it (missing keys last).

    Returns:
        The key, `carry`, the count (int64), and the features as float64, NaN where a group has no value of one.
        Told: ``rows``, ``groups``, ``empty`` (features without any value in a group, by feature: groups), and
        ``duplicate_ids`` (rows that count although their ``CellId`` stood before; None where the ids do not fit into
        `memory`, eight bytes each; absent in a table without ids).

    Raises:
        NotFoundError: a column that is not there, or no rows.
        RecipeError: a carried column has two values in one group.
    """
    del fitted
    return aggregated(source, settings, _values)


def aggregated(
    source: Source, settings: Settings, values_of: Callable[[Source, list[str], Assigned, Any], Any]
) -> Outcome:
    """As :func:`operate`, with the values (groups, features) that `values_of` finds."""
    schema = source.schema()
    require(schema, settings.carry)
    names = [name for name in feature_names(schema, settings.features) if name not in settings.by]
    ids = CountedIds(source, settings.memory)
    assigned = assign(ids, settings.by)
    duplicates = ids.told()
    order = _order(assigned, schema)
    keys = {name: column.take(order) for name, column in assigned.groups.columns(schema).items()}
    carried = {name: column.take(order) for name, column in _carried(source, assigned, settings).items()}
    counted = {settings.count: pa.array(assigned.sizes, pa.int64()).take(order)} if settings.count else {}
    values = values_of(source, names, assigned, settings)[order.to_numpy()]
    features = {name: np.ascontiguousarray(values[:, place]) for place, name in enumerate(names)}
    table = pa.table({**keys, **carried, **counted, **features})
    empty = {name: int(n) for name, n in zip(names, np.isnan(values).sum(axis=0), strict=True) if n}
    told = {"rows": int(assigned.sizes.sum()), "groups": table.num_rows, "empty": empty, **duplicates}
    return Outcome(Held(_described(table, schema, settings)), told)


def _values(source: Source, names: list[str], assigned: Assigned, settings: Settings) -> Any:
    if settings.method == "mean":
        return moments(source, names, assigned).mean
    return orders(source, names, assigned, memory=settings.memory).quantiles[..., 0]


def _order(assigned: Assigned, schema: pa.Schema) -> Any:
    keys = pa.table({name: plain(column) for name, column in assigned.groups.columns(schema).items()})
    return pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in keys.column_names])


def _carried(source: Source, assigned: Assigned, settings: Settings) -> dict[str, Any]:
    """The one value that each carried column has in each group."""
    if not settings.carry:
        return {}
    firsts: list[dict[str, Any]] = [{} for _ in assigned.groups.keys]
    start = 0
    for piece in source.tables(settings.carry):
        table = pa.table({name: without_nan(piece.column(name)) for name in settings.carry})
        codes = pa.array(assigned.codes[start : start + table.num_rows])
        start += table.num_rows
        for row in table.append_column("", codes).group_by(["", *settings.carry]).aggregate([]).to_pylist():
            group = row.pop("")
            for name, value in row.items():
                if firsts[group].setdefault(name, value) != value:
                    raise RecipeError(
                        f"{name} is not one value in {assigned.groups.label(group)}:"
                        f" {firsts[group][name]!r}, {value!r}",
                        remedy="put it into `by`, or do not carry it",
                    )
    schema = source.schema()
    return {name: pa.array([row.get(name) for row in firsts], schema.field(name).type) for name in settings.carry}


def _described(table: pa.Table, schema: pa.Schema, settings: Settings) -> pa.Table:
    known = {column.name: column for column in columns_of(schema)}
    if settings.count:
        known[settings.count] = Column(settings.count, "metadata", unit="1")
    return with_columns(table, [known[name] for name in table.column_names])
