"""Statistics of many columns over rows that need not fit into memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from phenostream.errors import OverBudgetError
from phenostream.profiles.kernels import add_moments, commonest, grouped_order, order_statistics
from phenostream.profiles.tables import numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from phenostream.profiles.groups import Assigned
    from phenostream.profiles.tables import Source

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Moments:
    """By group and feature: (groups, features) each.

    Attributes:
        count: values that are numbers.
        mean: their mean, NaN where there are none.
        variance: mean squared deviation (divided by the count), NaN where there are none.
    """

    count: NDArray[np.int64]
    mean: Floats
    variance: Floats


@dataclass(frozen=True, slots=True)
class Orders:
    """By group and feature: (groups, features) each; `quantiles` (groups, features, q)."""

    count: NDArray[np.int64]
    quantiles: Floats
    deviation: Floats


def moments(source: Source, names: Sequence[str], assigned: Assigned) -> Moments:
    """Count, mean and variance of the fitting rows of each group, in one pass and one piece of memory."""
    shape = (len(names), len(assigned.groups.keys))
    count, mean, squares = np.zeros(shape, np.int64), np.zeros(shape), np.zeros(shape)
    for table, codes in _pieces(source, names, assigned):
        for place, name in enumerate(names):
            add_moments(numbers(table.column(name)), codes, count[place], mean[place], squares[place])
    empty = count == 0
    variance = np.where(empty, np.nan, squares / np.maximum(count, 1))
    return Moments(count.T, np.where(empty, np.nan, mean).T, variance.T)


def orders(
    source: Source, names: Sequence[str], assigned: Assigned, *, shares: Sequence[float] = (0.5,), memory: int = 2 << 30
) -> Orders:
    """Exact quantiles and median absolute deviations of the fitting rows of each group.

    As many columns at a time are held as `memory` bytes allow, each read once; a file of columns gives them without
    touching the others.

    Args:
        source: rows, in the same order as `assigned` was made from.
        names: columns of numbers.
        assigned: groups, and who takes part.
        shares: quantiles wanted; the first must be 0.5.
        memory: bytes for columns and order.

    Raises:
        OverBudgetError: one column alone needs more.
    """
    layout = _Layout.of(assigned)
    found = np.empty((len(names), len(assigned.groups.keys), len(shares) + 2))
    beside = 4 * len(layout.order) + 8 * int(np.diff(layout.starts).max(initial=0))

    def use(place: int, values: NDArray[Any]) -> None:
        order_statistics(values, layout.order, layout.starts, np.asarray(shares, float), found[place])

    room = _Room(memory, beside, "the median", "raise `memory`, or use means", len(layout.order))
    _held(source, names, layout.taking, room, use)
    told = found.transpose(1, 0, 2)
    return Orders(told[..., 0].astype(np.int64), told[..., 1:-1], told[..., -1])


def frequencies(source: Source, names: Sequence[str], rows: NDArray[np.bool_], *, memory: int) -> NDArray[np.int64]:
    """How many values of each column differ, and how often its most and second most common one stand there.

    Columns are held and sorted in place, as many at a time as `memory` bytes allow.

    Args:
        source: rows.
        names: columns of numbers.
        rows: (n,) which rows take part.
        memory: bytes for columns.

    Returns:
        (columns, 3); NaN does not count.

    Raises:
        OverBudgetError: one column alone needs more.
    """
    found = np.empty((len(names), 3), np.int64)

    def use(place: int, values: NDArray[Any]) -> None:
        values.sort()
        found[place] = commonest(values)

    room = _Room(memory, 0, "counting the values", "raise `memory`, or leave out the rule frequency", int(rows.sum()))
    _held(source, names, rows, room, use)
    return found


def triangle(source: Source, names: Sequence[str], rows: NDArray[np.bool_], centre: Floats, scale: Floats) -> Floats:
    """The factor R (min(n, d), d) of the QR decomposition of ``(X - centre) / scale`` over `rows`.

    Blocks are folded into R one after the other (sequential TSQR; Demmel et al., SIAM J. Sci. Comput. 34, 2012): its
    singular values and right vectors are those of the whole matrix, without the squared condition number that a
    covariance matrix has.
    """
    factor: Any = np.zeros((0, len(names)))
    waiting: list[Floats] = []
    held = 0
    for block in _standardised(source, names, rows, centre, scale):
        waiting.append(block)
        held += len(block)
        if held >= 4 * len(names):
            factor, waiting, held = np.linalg.qr(np.concatenate([factor, *waiting]), mode="r"), [], 0
    return np.asarray(np.linalg.qr(np.concatenate([factor, *waiting]), mode="r") if waiting else factor)


def correlations(
    source: Source, names: Sequence[str], rows: NDArray[np.bool_], centre: Floats, scale: Floats
) -> Floats:
    """Pearson correlation (d, d) of the columns over `rows`; a pair counts where both are numbers.

    Columns are shifted by `centre` and divided by `scale` first, so that sums of products lose no digits. NaN where a
    pair has no spread.
    """
    size = len(names)
    n, s, q, p = (np.zeros((size, size)) for _ in range(4))
    gaps = False
    for block in _standardised(source, names, rows, centre, scale):
        there = ~np.isnan(block)
        if gaps or not there.all():
            gaps = True
            seen, filled = there.astype(float), np.where(there, block, 0.0)
            n, s, q = n + seen.T @ seen, s + filled.T @ seen, q + (filled**2).T @ seen
            p += filled.T @ filled
        else:
            n += len(block)
            s += block.sum(axis=0)[:, None]
            square = block.T @ block
            q += np.diag(square)[:, None]
            p += square
    with np.errstate(invalid="ignore", divide="ignore"):
        covariance = p - s * s.T / n
        spread = q - s**2 / n
        found = covariance / np.sqrt(spread * spread.T)
    return np.where(np.isfinite(found), np.clip(found, -1, 1), np.nan)


def matrix(table: pa.Table, names: Sequence[str]) -> Floats:
    """The columns `names` as (rows, columns) float64, missing values NaN."""
    made = np.empty((len(names), table.num_rows))
    for place, name in enumerate(names):
        made[place] = numbers(table.column(name))
    return made.T


def _standardised(
    source: Source, names: Sequence[str], rows: NDArray[np.bool_], centre: Floats, scale: Floats
) -> Iterator[Floats]:
    """The chosen rows, piece by piece, as (rows, columns), shifted and scaled."""
    start = 0
    for table in source.tables(names):
        chosen = rows[start : start + table.num_rows]
        start += table.num_rows
        block = matrix(table if chosen.all() else table.filter(pa.array(chosen)), names)
        block -= centre
        block /= scale
        yield block


@dataclass(frozen=True, slots=True)
class _Layout:
    """Fitting rows group by group."""

    taking: NDArray[np.bool_] | None
    order: NDArray[np.int32]
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, assigned: Assigned) -> _Layout:
        taking = None if (assigned.codes >= 0).all() else assigned.codes >= 0
        codes = assigned.codes if taking is None else assigned.codes[taking]
        starts = np.concatenate([[0], np.cumsum(assigned.fitting)]).astype(np.int64)
        order = np.empty(len(codes), np.int32)
        grouped_order(codes, starts, order)
        return cls(taking, order, starts)


def _pieces(source: Source, names: Sequence[str], assigned: Assigned) -> Iterator[tuple[pa.Table, NDArray[np.int32]]]:
    start = 0
    for table in source.tables(names):
        yield table, assigned.codes[start : start + table.num_rows]
        start += table.num_rows


def refuse_above(memory: int, need: int, what: str, *, remedy: str) -> None:
    """Raise OverBudgetError where `what` (with its verb) needs more bytes than the setting `memory` gives."""
    if need > memory:
        raise OverBudgetError(
            f"{what} {need / (1 << 20):,.1f} MiB, `memory` is {memory / (1 << 20):,.1f} MiB", remedy=remedy
        )


@dataclass(frozen=True, slots=True)
class _Room:
    """Bytes for columns, and what is said where they are too few.

    Attributes:
        memory: in all.
        beside: of these for other things.
        what: needs them.
        remedy: what to do.
        rows: of each column.
    """

    memory: int
    beside: int
    what: str
    remedy: str
    rows: int

    def columns(self, sizes: NDArray[np.int64]) -> int:
        """How many columns of `sizes` bytes, from the first, it holds. Raises OverBudgetError where it is none."""
        found = int(np.searchsorted(np.cumsum(sizes), self.memory - self.beside, side="right"))
        if not found:
            need = self.beside + int(sizes[0])
            refuse_above(self.memory, need, f"{self.what} of {self.rows:,} rows needs", remedy=self.remedy)
        return found


def _held(
    source: Source, names: Sequence[str], rows: NDArray[np.bool_] | None, room: _Room,
    use: Callable[[int, NDArray[Any]], None],
) -> None:  # fmt: skip
    """Give `use` each column and its place; it may change the values, and must not keep them.

    As many columns at a time are held as there is room for, each read once; a file of columns gives them without
    touching the others.
    """
    kinds = [_width(source.schema().field(name).type) for name in names]
    sizes = np.array([room.rows * np.dtype(kind).itemsize for kind in kinds], np.int64)
    start = 0
    while start < len(names):
        block = slice(start, start + room.columns(sizes[start:]))
        _use_block(_columns(source, names[block], kinds[block], rows, room.rows), start, use)
        start = block.stop


def _use_block(block: list[NDArray[Any]], start: int, use: Callable[[int, NDArray[Any]], None]) -> None:
    # A function of its own: what it names is gone before the next block is read.
    for place, values in enumerate(block, start):
        use(place, values)


def _columns(
    source: Source, names: Sequence[str], kinds: Sequence[Any], rows: NDArray[np.bool_] | None, count: int
) -> list[NDArray[Any]]:
    made = [np.empty(count, kind) for kind in kinds]
    read = put = 0
    for table in source.tables(names):
        taking = None if rows is None else rows[read : read + table.num_rows]
        size = table.num_rows if taking is None else int(taking.sum())
        for values, name in zip(made, names, strict=True):
            piece = numbers(table.column(name))
            values[put : put + size] = piece if taking is None else piece[taking]
        read, put = read + table.num_rows, put + size
    return made


def _width(kind: Any) -> Any:
    return np.float32 if pa.types.is_float32(kind) or pa.types.is_float16(kind) else np.float64
