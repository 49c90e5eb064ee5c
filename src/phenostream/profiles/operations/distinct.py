"""Distinct: no cell twice."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
from pydantic import ByteSize, Field

from phenostream.errors import DamagedError
from phenostream.profiles.duplicates import ROW, Keys, Tally
from phenostream.profiles.growing import Growing
from phenostream.profiles.operating import Names, OperationSettings, Outcome
from phenostream.profiles.statistics import refuse_above
from phenostream.profiles.tables import Filtered

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from phenostream.profiles.duplicates import Repeated
    from phenostream.profiles.tables import Source

    Rows = NDArray[np.int64]

_DIGEST = 16
#: Bytes of a name that stands twice (hash, digest, first row, verdict), and of a row that repeats one (its number in
#: two arrays, its reason).
_NAME, _AGAIN = 41, 32


class Settings(OperationSettings):
    """What makes two rows the same."""

    by: Names = Field(
        (), description="columns that together name a row; empty: CellId, else image and place, else image and object"
    )
    twice: Literal["refuse", "first", "drop"] = Field(
        "refuse", description="rows of one name: an error, the first is kept, or none of them; counted"
    )
    memory: ByteSize = Field(
        ByteSize(2 << 30),
        description="bytes that names may take: 8 a row, and where some stand twice 1 more and up to 73 a repeated row",
    )


def operate(source: Source, settings: Settings, fitted: pa.Table | None = None) -> Outcome:
    """The rows, each name once.

    Names are compared by 64-bit hashes, and where these are equal by 128 bits of BLAKE2b. Eight bytes a row are held,
    and where some stand twice a verdict of one byte a row and up to 73 bytes a repeated one.

    Returns:
        The rows. Rejected: ``row`` and ``reason`` (``duplicate``). Told: ``rows``, ``duplicates`` (rows beyond the
        first of each name), ``unnamed`` (rows without id, or without place: they stay), ``by`` (the columns used).

    Raises:
        DamagedError: a name stands twice, and `twice` is refuse.
        NotFoundError: a column is not there, or none that could name a row.
        OverBudgetError: the names need more than `memory`.
    """
    del fitted
    keys = Keys.of(source.schema(), settings.by)
    rows, unnamed, repeated = _hashed(source, keys, settings.memory)
    later, firsts = _really(source, keys, repeated, rows, settings.memory)
    told = {"rows": rows, "duplicates": len(later), "unnamed": unnamed, "by": list(keys.by)}
    if not len(later):
        return Outcome(source, told, rejected=_rejected(later))
    if settings.twice == "refuse":
        raise DamagedError(
            f"{len(later):,} rows repeat the {' and '.join(keys.by)} of another, first row {later[0]:,}",
            remedy="was a table joined to itself? set `twice` to first or drop to go on without them",
        )
    gone = np.concatenate([later, firsts]) if settings.twice == "drop" else later
    gone.sort()
    keep = np.ones(rows, bool)
    keep[gone] = False
    return Outcome(Filtered(source, keep), told, rejected=_rejected(gone))


def _hashed(source: Source, keys: Keys, memory: int) -> tuple[int, int, Repeated]:
    """Rows, rows without a name, and the hashes that stand twice."""
    tally, rows = Tally(), 0
    for table in source.tables(keys.by):
        hashes, named = keys.hashes(table)
        _refuse_above(memory, ROW * (rows + table.num_rows), f"the names of {rows + table.num_rows:,} rows or more")
        tally.add(hashes[named])
        rows += table.num_rows
    return rows, rows - len(tally), tally.repeated()


def _really(source: Source, keys: Keys, repeated: Repeated, rows: int, memory: int) -> tuple[Rows, Rows]:
    """Rows whose names, not only hashes, were seen before; and the first row of each such name."""
    known = repeated.hashes
    if not len(known):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    need = rows + _NAME * len(known) + _AGAIN * repeated.beyond
    _refuse_above(memory, need, f"{repeated.beyond:,} repeated rows of {rows:,}")
    seen, later, start = _Seen(len(known)), Growing(np.int64), 0
    for table in source.tables(keys.by):
        hashes, named = keys.hashes(table)
        places = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
        suspects = np.flatnonzero(named & (known[places] == hashes))
        again = seen.again(places[suspects], suspects + start, keys.texts(table.take(suspects)))
        later.add(suspects[again] + start)
        start += table.num_rows
    return later.taken(), seen.firsts()


class _Seen:
    """The first row of every repeated name, and whether it was met again."""

    def __init__(self, size: int) -> None:
        self._rows = np.full(size, -1, np.int64)
        self._digests = np.zeros(size, f"V{_DIGEST}")
        self._met = np.zeros(size, bool)
        # Names whose hash another name has, too: as good as never.
        self._others: dict[bytes, tuple[int, bool]] = {}

    def again(self, places: Rows, rows: Rows, texts: Iterable[str]) -> NDArray[np.bool_]:
        """(n,) whether the name `texts` of each of `rows` was seen before; `places` are those of their hashes."""
        found = np.zeros(len(rows), bool)
        for at, (place, row, text) in enumerate(zip(places.tolist(), rows.tolist(), texts, strict=True)):
            digest = blake2b(text.encode(), digest_size=_DIGEST).digest()
            if self._rows[place] < 0:
                self._rows[place], self._digests[place] = row, np.void(digest)
            elif self._digests[place].tobytes() == digest:
                found[at] = self._met[place] = True
            else:
                found[at] = digest in self._others
                self._others[digest] = (self._others.get(digest, (row, False))[0], bool(found[at]))
        return found

    def firsts(self) -> Rows:
        """The first row of each name that was met again, in any order."""
        return np.concatenate([self._rows[self._met], [row for row, met in self._others.values() if met]]).astype(int)


def _refuse_above(memory: int, need: int, what: str) -> None:
    refuse_above(memory, need, f"{what} need", remedy="raise `memory`, or look at one plate at a time")


def _rejected(rows: Rows) -> pa.Table:
    return pa.table({"row": pa.array(rows, pa.int64()), "reason": pa.repeat(pa.scalar("duplicate"), len(rows))})
