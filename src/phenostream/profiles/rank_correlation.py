"""Spearman's correlation of many columns over rows that need not fit into memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from phenostream.errors import OverBudgetError
from phenostream.profiles.kernels import average_ranks
from phenostream.profiles.tables import numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from phenostream.profiles.tables import Source

    Floats = NDArray[np.float64]

#: Bytes a row and column while ranks are compared: rank, order, and scratch.
_BYTES = 20


def rank_correlations(source: Source, names: Sequence[str], rows: NDArray[np.bool_], memory: int) -> Floats:
    """Correlation (d, d) of the columns' ranks over `rows`; a pair counts, and is ranked, where both are numbers.

    As many columns at a time are held as `memory` has room for, each with all others; equal values share their mean
    rank. NaN where a pair has no spread.

    Args:
        source: rows.
        names: columns of numbers.
        rows: (n,) which rows take part.
        memory: bytes.

    Raises:
        OverBudgetError: two columns need more.
    """
    count = int(rows.sum())
    width = memory // (2 * _BYTES * max(count, 1))
    if not width:
        raise OverBudgetError(
            f"ranks of two columns of {count:,} rows need {2 * _BYTES * count >> 20:,} MiB,"
            f" `memory` is {memory >> 20:,} MiB",
            remedy="raise `memory`, or correlate values (pearson)",
        )
    starts = range(0, len(names), width)
    found = np.full((len(names), len(names)), np.nan)
    for start in starts:
        mine = _Ranked.of(source, names[start : start + width], rows, count)
        for other in starts[start // width :]:
            theirs = mine if other == start else _Ranked.of(source, names[other : other + width], rows, count)
            block = _compared(mine, theirs)
            found[start : start + width, other : other + width] = block
            found[other : other + width, start : start + width] = block.T
    return np.asarray(np.clip(found, -1, 1))


@dataclass(frozen=True, slots=True)
class _Ranked:
    """Columns as ranks.

    Attributes:
        ranks: (columns, n) centred, of length one; a column with gaps or without spread only in the order of its ranks.
        order: (columns, n) rows by ascending rank, gaps last.
        whole: (columns,) whether it has no gap.
    """

    ranks: Floats
    order: NDArray[np.int32]
    whole: NDArray[np.bool_]

    @classmethod
    def of(cls, source: Source, names: Sequence[str], rows: NDArray[np.bool_], count: int) -> _Ranked:
        ranks = _values(source, names, rows, count)
        order = np.empty(ranks.shape, np.int32)
        everywhere = np.ones(count, bool)
        for place, values in enumerate(ranks):
            order[place] = np.argsort(values, kind="stable")
            ranks[place] = average_ranks(values, order[place], everywhere)
        whole = np.asarray(~np.isnan(ranks).any(axis=1))
        ranks[whole] = _of_length_one(ranks[whole])
        return cls(ranks, order, whole)

    def within(self, place: int, rows: NDArray[np.bool_]) -> Floats:
        """(rows,) ranks of one column among `rows`, of length one."""
        ranks = average_ranks(self.ranks[place], self.order[place], rows)[rows]
        return np.asarray(_of_length_one(ranks[None])[0])


def _compared(mine: _Ranked, theirs: _Ranked) -> Floats:
    found = np.asarray(mine.ranks @ theirs.ranks.T)
    for one, other in np.argwhere(~(mine.whole[:, None] & theirs.whole)):
        rows = np.asarray(~np.isnan(mine.ranks[one]) & ~np.isnan(theirs.ranks[other]))
        found[one, other] = mine.within(one, rows) @ theirs.within(other, rows) if rows.any() else np.nan
    return found


def _of_length_one(ranks: Floats) -> Floats:
    centred = ranks - ranks.mean(axis=1, keepdims=True) if ranks.shape[1] else ranks
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(centred / np.linalg.norm(centred, axis=1, keepdims=True))


def _values(source: Source, names: Sequence[str], rows: NDArray[np.bool_], count: int) -> Floats:
    made: Any = np.empty((len(names), count))
    read = put = 0
    for table in source.tables(names):
        chosen = rows[read : read + table.num_rows]
        part = table if chosen.all() else table.filter(pa.array(chosen))
        for values, name in zip(made, names, strict=True):
            values[put : put + part.num_rows] = numbers(part.column(name))
        read, put = read + table.num_rows, put + part.num_rows
    return np.asarray(made)
