"""Which rows belong together, and which of them a statistic is fitted on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from phenostream.errors import NotFoundError, RecipeError
from phenostream.profiles.tables import require

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from phenostream.profiles.tables import Source

    Key = tuple[Any, ...]


@dataclass(slots=True)
class Groups:
    """Distinct values of the key columns, numbered as they are met.

    Attributes:
        by: the key columns; with none, all rows are one group.
        keys: the distinct values, in the order of their numbers.
    """

    by: tuple[str, ...]
    keys: list[Key] = field(default_factory=list)
    _known: dict[Key, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._known = {key: number for number, key in enumerate(self.keys)}

    def codes(self, table: pa.Table, *, grow: bool = True) -> NDArray[np.int32]:
        """(n,) number of each row's group; -1 for one not known before, where `grow` is off."""
        if not self.by:
            if grow and not self.keys:
                self._number((), grow=True)
            return np.zeros(table.num_rows, np.int32) if self.keys else np.full(table.num_rows, -1, np.int32)
        mixed, sizes, texts = np.zeros(table.num_rows, np.int64), [], []
        for name in self.by:
            indices, values = _encoded(table.column(name))
            mixed = mixed * max(len(values), 1) + indices
            sizes.append(max(len(values), 1))
            texts.append(values)
        distinct, first, back = np.unique(mixed, return_index=True, return_inverse=True)
        # Numbered as they are met, so that neither pieces nor hashing decide the order.
        numbers = np.empty(len(distinct), np.int32)
        for place in np.argsort(first):
            numbers[place] = self._number(_unmixed(int(distinct[place]), sizes, texts), grow=grow)
        return numbers[back.ravel()].astype(np.int32, copy=False)

    def label(self, number: int) -> str:
        """A group in words: ``Metadata_Plate P1``."""
        told = zip(self.by, self.keys[number], strict=True)
        return ", ".join(f"{name} {value}" for name, value in told) or "all rows"

    def columns(self, source_schema: pa.Schema) -> dict[str, Any]:
        """The key columns of a table with one row a group."""
        return {
            name: pa.array([key[place] for key in self.keys], source_schema.field(name).type)
            for place, name in enumerate(self.by)
        }

    def _number(self, key: Key, *, grow: bool) -> int:
        number = self._known.get(key, -1)
        if number < 0 and grow:
            number = len(self.keys)
            self._known[key] = number
            self.keys.append(key)
        return number


@dataclass(frozen=True, slots=True)
class Assigned:
    """Groups of all rows of a source, and which rows take part in fitting.

    Attributes:
        groups: the groups.
        codes: (n,) group of each row; -1 where the row takes no part.
        sizes: (groups,) rows of each group, fitting or not.
        fitting: (groups,) rows of each group that take part.
    """

    groups: Groups
    codes: NDArray[np.int32]
    sizes: NDArray[np.int64]
    fitting: NDArray[np.int64]


def assign(source: Source, by: Sequence[str], controls: Mapping[str, Any] | None = None) -> Assigned:
    """Number the groups of `source` by the columns `by`; with `controls`, only those rows take part in fitting.

    Memory holds four bytes a row.

    Raises:
        NotFoundError: no such column, or no row at all.
    """
    controls = controls or {}
    require(source.schema(), [*by, *controls])
    groups, pieces, sizes = Groups(tuple(by)), [], np.zeros(0, np.int64)
    for table in source.tables(_columns(source, by, controls)):
        codes = groups.codes(table)
        sizes = _longer(sizes, len(groups.keys)) + np.bincount(codes, minlength=len(groups.keys))
        pieces.append(np.where(control_rows(table, controls), codes, np.int32(-1)) if controls else codes)
    codes = np.concatenate(pieces)
    if not len(codes):
        raise NotFoundError("the table has no rows", remedy="is anything done yet?")
    fitting = np.bincount(codes[codes >= 0], minlength=len(groups.keys))
    return Assigned(groups, codes, sizes, fitting)


def control_rows(table: pa.Table, controls: Mapping[str, Any]) -> NDArray[np.bool_]:
    """(n,) whether each row has, in every column of `controls`, one of the values named there.

    Values are compared as text: ``0`` in a recipe is the 0 of an integer column, ``0.1`` that of a float32 column.
    """
    chosen = np.ones(table.num_rows, bool)
    for name, value in controls.items():
        wanted = {text for one in (value if isinstance(value, list | tuple) else [value]) for text in _spellings(one)}
        texts: Any = as_text(table.column(name))
        found: Any = pc.is_in(texts, value_set=pa.array(sorted(wanted), pa.string()))
        chosen &= found.to_numpy(zero_copy_only=False).astype(bool)
    return chosen


def known_rows(table: pa.Table, columns: Sequence[str]) -> NDArray[np.bool_]:
    """(n,) whether each row has a value in every one of `columns`: neither null nor NaN, nor an empty text."""
    known = np.ones(table.num_rows, bool)
    for name in columns:
        filled: Any = pc.not_equal(pc.fill_null(as_text(table.column(name)), ""), pa.scalar(""))
        known &= filled.to_numpy(zero_copy_only=False).astype(bool)
    return known


def as_text(column: Any) -> Any:
    """A column as strings, as a person writes them.

    Floats have the fewest digits that give the same value in the column's own type (0.1 is ``0.1``, in float32, too);
    whole ones no ``.0``. NaN is null.
    """
    column = plain(column)
    if not pa.types.is_floating(column.type):
        return column.cast(pa.string())
    values = column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy()
    distinct, places = np.unique(values, return_inverse=True)
    texts = np.array([_number_text(one) for one in distinct], dtype=object)
    return pa.array(texts[places.ravel()], pa.string())


def _number_text(value: np.floating[Any] | float) -> str | None:
    if np.isnan(value):
        return None
    # The digits are the shortest of the value's own type; Python then writes them alike for every type.
    return str(int(value)) if np.isfinite(value) and value == int(value) else str(float(str(value)))


def _spellings(value: Any) -> set[str]:
    """How a value of a recipe may stand in a column as text: 1.0 as ``1.0``, and as ``1``."""
    number = _number_text(value) if isinstance(value, float) else None
    return {str(value)} if number is None else {str(value), number}


def refuse_unfitted(assigned: Assigned, least: int, *, drop: bool) -> NDArray[np.int64]:
    """Numbers of the groups with fewer than `least` fitting rows.

    Raises:
        RecipeError: there are such, and `drop` is off.
    """
    poor = np.flatnonzero(assigned.fitting < least)
    if len(poor) and (not drop or len(poor) == len(assigned.groups.keys)):
        shown = "; ".join(assigned.groups.label(int(one)) for one in poor[:5])
        more = f" and {len(poor) - 5} more" if len(poor) > 5 else ""
        raise RecipeError(
            f"{len(poor)} of {len(assigned.groups.keys)} groups have fewer than {least} rows to fit on: {shown}{more}",
            remedy="check the controls, fit over a larger group, or set `unfitted: drop` to leave them out, counted",
        )
    return poor


def _columns(source: Source, by: Sequence[str], controls: Mapping[str, Any]) -> list[str]:
    names = list(dict.fromkeys([*by, *controls]))
    # Some column must be read to count rows, and the first is as cheap as any.
    return names or source.schema().names[:1]


def _longer(sizes: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    return np.concatenate([sizes, np.zeros(length - len(sizes), np.int64)])


def plain(column: Any) -> Any:
    """The values of a column that Arrow keeps as a dictionary; other columns as they are."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def without_nan(column: Any) -> Any:
    """A column with null for NaN: no NaN equals another, so that none could be a key."""
    return pc.if_else(pc.is_nan(column), None, column) if pa.types.is_floating(column.type) else column


def _encoded(column: Any) -> tuple[NDArray[np.int64], list[Any]]:
    column = without_nan(plain(column))
    flat = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(flat, pa.ChunkedArray):
        flat = pa.concat_arrays(flat.chunks) if flat.num_chunks else pa.array([], flat.type)
    packed: Any = flat.dictionary_encode("encode")
    return packed.indices.to_numpy(zero_copy_only=False).astype(np.int64), packed.dictionary.to_pylist()


def _unmixed(code: int, sizes: Sequence[int], values: Sequence[list[Any]]) -> Key:
    key = []
    for size, known in zip(reversed(sizes), reversed(values), strict=True):
        code, place = divmod(code, size)
        key.append(known[place])
    return tuple(reversed(key))
