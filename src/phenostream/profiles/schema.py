"""Names and order of a profile table's columns, and the views a reader may ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from phenostream.errors import DamagedError, NotFoundError, RecipeError
from phenostream.values import columns_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

View = Literal["all", "features", "model"]

CELL_ID = "CellId"
OBJECT_NUMBER = "ObjectNumber"
IDENTITY = ("Study", "Plate", "Well", "Site", "Frame", "Z")
VIEWS: tuple[View, ...] = ("all", "features", "model")


def is_outline(field: pa.Field[Any]) -> bool:
    """Whether a column holds lists: one coordinate a point of an outline."""
    return bool(pa.types.is_list(field.type))


def union(schemas: Iterable[pa.Schema]) -> pa.Schema:
    """The one schema that every part fits: columns by name, types widened, metadata before features before outlines.

    Raises:
        DamagedError: two parts hold a column of the same name in types that do not go together.
    """
    distinct = list(dict.fromkeys(schema.remove_metadata() for schema in schemas))
    try:
        whole = pa.unify_schemas(distinct, promote_options="permissive") if distinct else pa.schema([])
    except pa.ArrowException as error:
        raise DamagedError(f"parts do not fit together: {error}", remedy="run `phenostream verify`") from error
    roles = {column.name: column.role for column in columns_of(whole)}
    rank = {"metadata": 0, "qc": 1, "feature": 2}
    return pa.schema(sorted(whole, key=lambda field: 3 if is_outline(field) else rank[roles[field.name]]))


def pick(schema: pa.Schema, columns: Sequence[str] | None, view: View) -> list[str]:
    """Names of the columns of `schema` that `columns` and `view` ask for, in the order of the schema.

    Raises:
        RecipeError: no such view.
        NotFoundError: a column that is not there.
    """
    if view not in VIEWS:
        raise RecipeError(f"no view {view!r}", remedy=f"choose one of: {', '.join(VIEWS)}")
    names = list(schema.names)
    for name in columns or ():
        if name not in names:
            raise NotFoundError(f"no column {name!r} in these profiles", remedy=f"there are {_few(names)}")
    if view == "all":
        return list(columns) if columns is not None else names
    kept = {CELL_ID, *(columns or ())}
    for column in columns_of(schema):
        if column.role == "feature" and not (view == "model" and column.positional):
            kept.add(column.name)
    return [name for name in names if name in kept]


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """`table` with exactly the columns of `schema`: absent ones are null, types are widened."""
    columns = dict(zip(table.column_names, table.columns, strict=True))
    arrays: list[Any] = []
    for field in schema:
        known = columns.get(field.name)
        if known is None:
            arrays.append(pa.nulls(table.num_rows, field.type))
        else:
            arrays.append(known if known.type == field.type else known.cast(field.type))
    return pa.table(arrays, schema=schema)


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown or "none"
