"""Rows that stand twice, found in eight bytes a row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from phenostream.errors import NotFoundError
from phenostream.profiles.groups import as_text
from phenostream.profiles.growing import Growing
from phenostream.profiles.kernels import repeated_values, text_hashes
from phenostream.profiles.roles import COMPARTMENTS
from phenostream.profiles.schema import CELL_ID, IDENTITY, OBJECT_NUMBER
from phenostream.profiles.tables import require

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from phenostream.profiles.tables import Source

    Hashes = NDArray[np.uint64]

#: Bytes that are held of every row.
ROW = 8

_FNV_OFFSET = np.uint64(14695981039346656037)
_IMAGE = (*(f"Metadata_{name}" for name in IDENTITY), "Metadata_Image", "Metadata_ImageNumber", "ImageNumber")
_OBJECT = (
    *(
        (f"{prefix}Center_X", f"{prefix}Center_Y")
        for prefix in ("Location_", *(f"{one}_{kind}_" for one in COMPARTMENTS for kind in ("Location", "AreaShape")))
    ),
    (f"Metadata_{OBJECT_NUMBER}",), (OBJECT_NUMBER,),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Keys:
    """Columns that together name a row.

    Attributes:
        by: all of them.
        own: those of the row itself and not of its image: where all of these are missing, the row has no name.
    """

    by: tuple[str, ...]
    own: tuple[str, ...]

    @classmethod
    def of(cls, schema: pa.Schema, by: Sequence[str] = ()) -> Keys:
        """The columns `by`; with none, ``CellId``, else image and place, else image and number of the object.

        Raises:
            NotFoundError: a column is not there, or none of these are.
        """
        if by or CELL_ID in schema.names:
            named = tuple(by) or (CELL_ID,)
            require(schema, named)
            return cls(named, named)
        known = set(schema.names)
        image = tuple(name for name in _IMAGE if name in known)
        own = next((names for names in _OBJECT if known.issuperset(names)), ())
        if not image or not own:
            raise NotFoundError(
                f"the table has no {CELL_ID}, and no columns of image and place that could stand for it",
                remedy="say with `by` which columns together name a row",
            )
        return cls((*image, *own), own)

    def hashes(self, table: pa.Table) -> tuple[Hashes, NDArray[np.bool_]]:
        """(n,) hash of each row's name (FNV-1a, 64 bits), and (n,) whether it has one."""
        found = np.full(table.num_rows, _FNV_OFFSET, np.uint64)
        missing = []
        for name in self.by:
            texts = _flat(as_text(table.column(name)))
            if name in self.own:
                missing.append(np.zeros(len(texts), bool) if not texts.null_count else _nulls(texts))
            _fold(texts, found)
        return found, ~reduce(np.logical_and, missing)

    def texts(self, table: pa.Table) -> Iterator[str]:
        """The name of each row in words, another for another name."""
        columns = [as_text(table.column(name)).to_pylist() for name in self.by]
        return (repr(row) for row in zip(*columns, strict=True))


@dataclass(frozen=True, slots=True)
class Repeated:
    """Hashes that stand twice.

    Attributes:
        hashes: (k,) each once, ascending.
        beyond: rows beyond the first of each.
    """

    hashes: Hashes
    beyond: int


class Tally:
    """Hashes of rows, eight bytes each."""

    def __init__(self) -> None:
        """No rows yet."""
        self._hashes = Growing(np.uint64)

    def __len__(self) -> int:
        return len(self._hashes)

    def add(self, hashes: Hashes) -> None:
        """Take more rows."""
        self._hashes.add(hashes)

    def repeated(self) -> Repeated:
        """Which hashes stand twice; the rows are forgotten."""
        hashes = self._hashes.taken()
        hashes.sort()
        count, beyond = repeated_values(hashes)
        return Repeated(hashes[:count].copy(), int(beyond))


class CountedIds:
    """Rows of another source whose ``CellId`` is looked at while they are read for something else.

    Reading them once is enough; a second reading would count every row twice.
    """

    def __init__(self, source: Source, memory: int) -> None:
        """Rows of `source`; its ids may take `memory` bytes."""
        self._of, self._memory = source, memory
        self._keys = Keys.of(source.schema()) if CELL_ID in source.schema().names else None
        self._tally: Tally | None = Tally()

    def schema(self) -> pa.Schema:
        """Columns and roles."""
        return self._of.schema()

    def count(self) -> int:
        """Number of rows."""
        return self._of.count()

    def tables(self, names: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The rows, piece by piece."""
        wanted = self.schema().names if names is None else list(names)
        if self._keys is None:
            yield from self._of.tables(wanted)
            return
        for table in self._of.tables([*wanted, *([] if CELL_ID in wanted else [CELL_ID])]):
            self._look(self._keys, table)
            yield table.select(wanted)

    def told(self) -> dict[str, int | None]:
        """``duplicate_ids``: rows whose id an earlier row has, by 64-bit hashes of the ids.

        Nothing where the table has no ids, None where they do not fit into `memory`.
        """
        if self._keys is None:
            return {}
        return {"duplicate_ids": None if self._tally is None else self._tally.repeated().beyond}

    def _look(self, keys: Keys, table: pa.Table) -> None:
        if self._tally is None or ROW * (len(self._tally) + table.num_rows) > self._memory:
            self._tally = None
            return
        hashes, named = keys.hashes(table)
        self._tally.add(hashes if named.all() else hashes[named])


def _flat(texts: Any) -> Any:
    flat = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    return pa.concat_arrays(flat.chunks) if isinstance(flat, pa.ChunkedArray) else flat


def _nulls(texts: Any) -> NDArray[np.bool_]:
    found: Any = pc.is_null(texts)
    return np.asarray(found.to_numpy(zero_copy_only=False), bool)


def _fold(texts: Any, hashes: Hashes) -> None:
    """Take a column of texts into the hashes of the rows; a missing one is no text that could stand there."""
    if not len(texts):
        return
    filled = texts.cast(pa.large_string()).fill_null("\x00")
    _, offsets, data = filled.buffers()
    bounds = np.frombuffer(offsets, np.int64)[filled.offset : filled.offset + len(filled) + 1]
    text_hashes(np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8), bounds, hashes)
