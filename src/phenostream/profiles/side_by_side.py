"""Rows of two sources side by side, joined piece by piece when they are read."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa

from phenostream.profiles.tables import Held

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from phenostream.profiles.tables import Source

    Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Which rows belong together: (n,) each.

    Attributes:
        first: rows of the first source, ascending.
        second: rows of the second, each once, in any order.
        distances: between them, in pixels.
    """

    first: Rows
    second: Rows
    distances: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Joined:
    """Pairs of rows of two sources, in the order of the first.

    Attributes:
        left: the first source.
        right: the second. One that has its rows in about the same order is read once, along with the first; any other
            is read once for every `memory` bytes of its columns.
        pairs: which rows belong together.
        told: columns and roles of the result.
        of_left: columns of the result that come from the first source, and their names there.
        of_right: the same of the second.
        distance: the column for the distance.
        memory: bytes.
    """

    left: Source
    right: Source
    pairs: Pairs
    told: pa.Schema
    of_left: Mapping[str, str]
    of_right: Mapping[str, str]
    distance: str
    memory: int

    def schema(self) -> pa.Schema:
        """Columns and roles."""
        return self.told

    def count(self) -> int:
        """Pairs."""
        return len(self.pairs.first)

    def tables(self, names: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Pairs of some tens of thousands of rows at a time."""
        wanted = list(self.told.names) if names is None else list(names)
        schema = pa.schema([self.told.field(name) for name in wanted])
        mine = [self.of_left[name] for name in wanted if name in self.of_left]
        theirs = [self.of_right[name] for name in wanted if name in self.of_right]
        other = _rows_of(self.right, theirs, self.pairs.second, self.memory) if theirs else None
        for table, start, stop in self._pieces(mine):
            columns = {name: table.column(own) for name, own in self.of_left.items() if name in wanted}
            if other is not None:
                found = other.rows(self.pairs.second[start:stop], start)
                columns |= {name: found.column(own) for name, own in self.of_right.items() if name in wanted}
            columns[self.distance] = pa.chunked_array([self.pairs.distances[start:stop]])
            yield pa.table([columns[name] for name in wanted], schema=schema)

    def _pieces(self, names: list[str]) -> Iterator[tuple[pa.Table, int, int]]:
        """Matched rows of the first source, and which pairs they are."""
        row, start = 0, 0
        for table in self.left.tables(names or self.left.schema().names[:1]):
            stop = start + int(np.searchsorted(self.pairs.first[start:], row + table.num_rows))
            if stop > start or not len(self.pairs.first):
                yield table.take(self.pairs.first[start:stop] - row), start, stop
            row, start = row + table.num_rows, stop


def _rows_of(source: Source, names: list[str], wanted: Rows, memory: int) -> _Rows:
    """What gives the rows `wanted` of `source`, some after the others, in no more than about `memory` bytes."""
    if isinstance(source, Held):
        return _Known(source.table.select(names))
    lowest = np.minimum.accumulate(wanted[::-1])[::-1]
    sample = next(iter(source.tables(names)))
    most = max(1, memory // max(2 * sample.nbytes // max(sample.num_rows, 1), 1))
    reach = int((np.maximum.accumulate(wanted) - lowest).max(initial=0))
    return _Alongside(source, names, lowest) if reach <= most else _Again(source, names, wanted, most)


class _Rows(Protocol):
    def rows(self, wanted: Rows, start: int) -> pa.Table:
        """The rows `wanted`, the `start`-th and following of all."""
        ...


@dataclass(frozen=True, slots=True)
class _Known:
    """A table in memory."""

    table: pa.Table

    def rows(self, wanted: Rows, start: int) -> pa.Table:
        del start
        return self.table.take(wanted)


class _Alongside:
    """A source read once: pieces are held until no later row is in them."""

    def __init__(self, source: Source, names: list[str], lowest: Rows) -> None:
        self._pieces, self._lowest = source.tables(names), lowest
        self._held: deque[pa.Table] = deque()
        self._first = self._end = 0

    def rows(self, wanted: Rows, start: int) -> pa.Table:
        while self._end <= wanted.max(initial=0):
            self._held.append(next(self._pieces))
            self._end += self._held[-1].num_rows
            while len(wanted) and self._held and self._first + self._held[0].num_rows <= self._lowest[start]:
                self._first += self._held.popleft().num_rows
        return pa.concat_tables(self._held).take(wanted - self._first)


class _Again:
    """A source in another order: as many rows as there is room for are gathered in one reading."""

    def __init__(self, source: Source, names: list[str], wanted: Rows, most: int) -> None:
        self._source, self._names, self._wanted, self._most = source, names, wanted, most
        self._number, self._gathered = -1, pa.table({})
        self._place = wanted[:0]

    def rows(self, wanted: Rows, start: int) -> pa.Table:
        found: list[pa.Table] = []
        stop = start + len(wanted)
        while start < stop or not found:
            number = start // self._most
            if number != self._number:
                self._gather(number)
            end = min(stop, (number + 1) * self._most)
            found.append(self._gathered.take(self._place[start - number * self._most : end - number * self._most]))
            start = end
        return pa.concat_tables(found)

    def _gather(self, number: int) -> None:
        chosen = self._wanted[number * self._most : (number + 1) * self._most]
        rising = np.sort(chosen)
        found: list[pa.Table] = []
        row = done = 0
        for piece in self._source.tables(self._names):
            stop = done + int(np.searchsorted(rising[done:], row + piece.num_rows))
            found.append(piece.take(rising[done:stop] - row))
            row, done = row + piece.num_rows, stop
            if done == len(rising):
                break
        self._number, self._gathered, self._place = number, pa.concat_tables(found), np.searchsorted(rising, chosen)
