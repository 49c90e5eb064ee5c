"""Which sites are learnt from and which are kept: whole groups on one side each, or a named refusal."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from phenostream.errors import EmptyError, LeakageError, NotFoundError, RecipeError
from phenostream.profiles.groups import as_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    Rows = NDArray[np.intp]

Values = str | int | float | tuple[str | int | float, ...]
Where = dict[str, Values]
_SHOWN = 3


class SplitSettings(BaseModel):
    """How sites are divided. What neither side names is not touched."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: Where = Field(default_factory=dict, description="sites to learn from: column to value or values; empty: all")
    keep: Where = Field(
        default_factory=dict, description="sites to validate on; empty: a share of the groups of `by`, see `folds`"
    )
    by: str = Field("experiment", description="column whose groups are kept whole where `keep` is empty")
    balance: str = Field("cell_type", description="column each of whose values should be on both sides, where it is")
    folds: int = Field(5, ge=0, description="parts that the groups fall into; 0 or 1: nothing is kept")
    fold: int = Field(0, ge=0, description="number of the part that is kept")
    apart: tuple[str, ...] = Field(
        ("experiment", "plate"),
        description="columns of which no value may be on both sides, where they are; wells never may",
    )


@dataclass(frozen=True, slots=True)
class Split:
    """Row numbers of both sides.

    Attributes:
        train: to learn from.
        keep: to validate on; may be empty.
    """

    train: Rows
    keep: Rows


def split(table: pa.Table, settings: SplitSettings) -> Split:
    """Divide the sites of an index.

    Without ``keep``, the groups of ``by`` are dealt into folds in the order of a hash of their names, one value of
    ``balance`` after the other: which fold a group falls into depends on nothing but the names that are there.

    Raises:
        NotFoundError: a column that is not there.
        EmptyError: a side that was asked for has no sites.
        LeakageError: an experiment, plate or well on both sides.
        RecipeError: fewer groups than folds, or a fold that is none.
    """
    train = chosen(table, settings.train, "split.train")
    if settings.keep:
        keep = chosen(table, settings.keep, "split.keep")
        if not settings.train:
            train = np.setdiff1d(train, keep)
    elif settings.folds > 1:
        kept = _fold(table, train, settings)
        train, keep = train[~kept], train[kept]
    else:
        keep = train[:0]
    if not len(train):
        raise EmptyError("split.train leaves no sites to learn from", remedy="check its columns and values")
    refuse_leakage(table, train, keep, apart=settings.apart)
    return Split(train, keep)


def chosen(table: pa.Table, where: Mapping[str, Any], name: str) -> Rows:
    """Rows that have, in every column of `where`, one of its values (as text). Raises NotFoundError, EmptyError."""
    rows = np.ones(table.num_rows, bool)
    for column, value in where.items():
        wanted = [str(one) for one in (value if isinstance(value, list | tuple) else [value])]
        found = np.isin(texts(table, column), wanted)
        if not found.any():
            known = ", ".join(sorted(set(texts(table, column).tolist()))[:12])
            raise EmptyError(f"{name}: no site has {column} {', '.join(wanted)}", remedy=f"there are {known}")
        rows &= found
    if not rows.any():
        raise EmptyError(f"{name}: no site has all of {dict(where)}", remedy="check the columns and values")
    return np.flatnonzero(rows)


def texts(table: pa.Table, column: str) -> NDArray[np.str_]:
    """(rows,) values of a column as text; absent ones are empty. Raises NotFoundError with the columns there are."""
    if column not in table.column_names:
        raise NotFoundError(f"no column {column!r}", remedy=f"there are {', '.join(table.column_names[:30])}")
    return np.array(["" if one is None else one for one in as_text(table[column]).to_pylist()], dtype=np.str_)


def refuse_leakage(table: pa.Table, train: Rows, keep: Rows, *, apart: Sequence[str]) -> None:
    """Compare what both sides come from.

    Args:
        table: the index.
        train: rows of one side.
        keep: rows of the other.
        apart: columns to compare, where they are there; wells are compared in any case.

    Raises:
        LeakageError: the first groups that are on both sides.
    """
    for name, values in _levels(table, apart):
        both = np.intersect1d(values[train], values[keep])
        both = both[both != ""]
        if len(both):
            shown = ", ".join(both[:_SHOWN]) + (f" and {len(both) - _SHOWN:,} more" if len(both) > _SHOWN else "")
            raise LeakageError(
                f"{len(both):,} {name}s are on both sides of the split: {shown}",
                remedy="split by experiment: what is judged on them would be told by the batch and not by the cells",
            )


def wells(table: pa.Table) -> NDArray[np.str_]:
    """(rows,) name of each site's well: plate and well, with the study where there is one."""
    parts = [texts(table, name) for name in ("study", "plate", "well") if name in table.column_names]
    return np.array(["/".join(filter(None, one)) for one in zip(*parts, strict=True)], dtype=np.str_)


def _levels(table: pa.Table, apart: Sequence[str]) -> list[tuple[str, NDArray[np.str_]]]:
    named = [(name, texts(table, name)) for name in apart if name in table.column_names]
    return [*named, ("well", wells(table))]


def _fold(table: pa.Table, rows: Rows, settings: SplitSettings) -> NDArray[np.bool_]:
    if settings.fold >= settings.folds:
        raise RecipeError(f"fold {settings.fold} of {settings.folds}", remedy="folds count from 0")
    groups = texts(table, settings.by)[rows]
    kinds = texts(table, settings.balance)[rows] if settings.balance in table.column_names else np.zeros_like(groups)
    first = dict(zip(groups[::-1].tolist(), kinds[::-1].tolist(), strict=True))
    if len(first) < settings.folds:
        raise RecipeError(
            f"{len(first)} groups of {settings.by} cannot make {settings.folds} folds",
            remedy="lower split.folds, or name another column in split.by",
        )
    order = sorted(first, key=lambda name: (first[name], zlib.crc32(name.encode()), name))
    kept = [name for place, name in enumerate(order) if place % settings.folds == settings.fold]
    return np.isin(groups, kept)
