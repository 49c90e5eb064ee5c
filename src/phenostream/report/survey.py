"""One walk over all rows: means by well of every column, a seeded sample of cells, and what is wrong with the table."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from phenostream.report.design import MOST_GROUPS, Design, Settings, design, text
from phenostream.report.rows import numeric

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from phenostream.report.rows import Piece, Rows
    from phenostream.values import Column

#: Rows whose values are kept for medians and effects, and the most numbers kept of them.
SAMPLED = 20_000
_SAMPLED_VALUES = 24_000_000
#: Pictures of cells are cut from at most so many parts.
PICTURED_PARTS = 384
_DECODED = 8_000_000
_AT_ONCE = 16_384
_IDS_CHECKED = 20_000_000
_MOST_VALUES = 5_000
_TEXT = 120


@dataclass(slots=True)
class Sample:
    """Cells drawn at random without replacement: row numbers ascending, their metadata, and their values.

    Attributes:
        rows: (n,) row numbers in the order of the table.
        wells: (n,) number of the well of each.
        parts: (n,) number of the part of each, 0 for a table.
        metadata: n rows, every column as text.
        values: (n, columns) float32, NaN where missing.
    """

    rows: NDArray[np.int64]
    wells: NDArray[np.int32]
    parts: NDArray[np.int32]
    metadata: pa.Table
    values: NDArray[np.float32]


@dataclass(slots=True)
class Survey:
    """What one walk over the rows found.

    Attributes:
        columns: features and quality figures, in the order of the schema.
        wells: (plate, well) of each well, sorted.
        counts: (wells,) rows.
        means: (wells, columns) mean of the finite values, NaN where there are none.
        known: (columns,) finite values.
        low: (columns,) smallest finite value.
        high: (columns,) largest finite value.
        groups: value of each metadata column in each well, ``""`` where it is not one and the same.
        sample: cells for medians and effects.
        shown: cells for the map and the pictures.
        paths: path of each part by number.
        duplicates: rows whose id stood in an earlier row; None where there are no ids or too many to compare.
        unplaced: rows without a well (without a plate, where the table has no wells).
    """

    design: Design
    columns: Sequence[Column]
    rows: int
    wells: list[tuple[str, str]]
    counts: NDArray[np.int64]
    means: NDArray[np.float64]
    known: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    groups: dict[str, list[str]]
    sample: Sample
    shown: Sample
    paths: dict[int, str] = field(default_factory=dict)
    duplicates: int | None = None
    unplaced: int = 0

    @property
    def excluded(self) -> dict[str, list[str]]:
        """Features of no use to a comparison, by reason."""
        told: dict[str, list[str]] = {"no finite value": [], "one and the same value": []}
        for place, column in enumerate(self.columns):
            if not self.known[place]:
                told["no finite value"].append(column.name)
            elif self.low[place] == self.high[place]:
                told["one and the same value"].append(column.name)
        return {reason: names for reason, names in told.items() if names}

    def controls(self, sample: Sample) -> NDArray[np.bool_]:
        """(n,) which cells of `sample` are negative controls; none where there are no controls."""
        if not self.design.controls:
            return np.zeros(len(sample.rows), bool)
        found: Any = pc.is_in(sample.metadata.column(self.design.controls), pa.array(self.design.control_values))
        return np.asarray(found.to_numpy(zero_copy_only=False) if isinstance(found, pa.Array) else found.to_numpy())


def survey(rows: Rows, settings: Settings) -> Survey:
    """Walk over `rows` twice or more: first for what places a row, then for the numbers.

    So many columns are read at a time that what is decoded at once stays under about 100 MB. Four bytes a row are kept
    (twelve where rows have ids), and the samples.

    Raises:
        NotFoundError, RecipeError: see `design`.
        DamagedError: a table that cannot be read.
    """
    columns = numeric(rows.schema())
    places = _Places(rows, settings, len(columns))
    for piece in rows.pieces(places.names):
        places.add(piece)
    numbers = _Numbers(places, len(columns))
    step = max(8, _DECODED // max(rows.largest, 1))
    for start in range(0, len(columns), step):
        numbers.block(rows, start, [column.name for column in columns[start : start + step]])
    return _surveyed(places, numbers, columns)


class _Reservoir:
    """The `size` rows with the smallest of seeded random keys: neither pieces nor parts decide which."""

    def __init__(self, size: int, seed: Sequence[int]) -> None:
        self._size = size
        self._rng = np.random.default_rng(seed)
        self.keys = np.zeros(0)
        self.rows = np.zeros(0, np.int64)
        self.parts = np.zeros(0, np.int32)
        self._tables: list[pa.Table] = []

    def add(self, table: pa.Table, start: int, part: int, *, wanted: bool = True) -> None:
        keys = self._rng.random(table.num_rows)
        if not wanted:
            return
        limit = self.keys.max() if len(self.keys) >= self._size else 2.0
        chosen = np.flatnonzero(keys < limit)
        self.keys = np.concatenate([self.keys, keys[chosen]])
        self.rows = np.concatenate([self.rows, start + chosen])
        self.parts = np.concatenate([self.parts, np.full(len(chosen), part, np.int32)])
        self._tables.append(table.take(chosen))
        if len(self.keys) > 2 * self._size:
            self.table()

    def table(self) -> pa.Table:
        kept = np.sort(np.argsort(self.keys, kind="stable")[: self._size])
        whole = pa.concat_tables(self._tables).take(kept).combine_chunks()
        self.keys, self.rows, self.parts = self.keys[kept], self.rows[kept], self.parts[kept]
        self._tables = [whole]
        return whole


class _Places:
    """Wells, samples and ids of all rows."""

    def __init__(self, rows: Rows, settings: Settings, columns: int) -> None:
        self.schema, self.settings = rows.schema(), settings
        self.first = design(self.schema, settings.model_copy(update={"controls": "", "group": ""}), {})
        self.names = list(self.first.metadata) or self.schema.names[:1]
        self.rows = self.unplaced = 0
        self.paths: dict[int, str] = {}
        self.codes: list[NDArray[np.int32]] = []
        self.numbers: dict[tuple[str, str], int] = {}
        self.values: dict[str, set[str]] = {name: set() for name in self.first.metadata}
        self.by_well: dict[str, dict[int, str]] = {name: {} for name in self.first.metadata}
        self.ids: list[NDArray[np.int64]] = []
        sampled = int(min(SAMPLED, max(_SAMPLED_VALUES // max(columns, 1), 500)))
        self.sample = _Reservoir(sampled, (settings.seed, 1))
        self.shown = _Reservoir(settings.cells, (settings.seed, 2))
        self._every = max(1, -(-rows.parts // PICTURED_PARTS))

    def add(self, piece: Piece) -> None:
        if piece.part:
            self.paths[piece.number] = piece.part
        texts = [text(piece.table.column(name)) for name in self.names]
        table = pa.table(dict(zip(self.names, texts, strict=True)))
        codes = self._codes(table)
        self.codes.append(codes)
        self._count_values(table, codes)
        self._add_ids(table)
        self.sample.add(table, self.rows, piece.number)
        self.shown.add(table, self.rows, piece.number, wanted=piece.number % self._every == 0)
        self.rows += table.num_rows

    def _codes(self, table: pa.Table) -> NDArray[np.int32]:
        """(n,) number of each row's well."""
        empty = pa.repeat("", table.num_rows)
        names = [table.column(name) if name else empty for name in (self.first.plate, self.first.well)]
        plate, well = (_encoded(column) for column in names)
        mixed = plate[0].astype(np.int64) * max(len(well[1]), 1) + well[0]
        distinct, back = np.unique(mixed, return_inverse=True)
        numbers = np.zeros(len(distinct), np.int32)
        for place, code in enumerate(distinct.tolist()):
            key = (plate[1][code // len(well[1])], well[1][code % len(well[1])])
            numbers[place] = self.numbers.setdefault(key, len(self.numbers))
            if not (key[1] if self.first.well else key[0]):
                self.unplaced += int((mixed == code).sum())
        codes: NDArray[np.int32] = numbers[back.ravel()]
        return codes

    def _count_values(self, table: pa.Table, codes: NDArray[np.int32]) -> None:
        """Distinct values of columns that have few, and which of them are one and the same all over a well."""
        for name in [name for name, known in self.values.items() if len(known) <= _MOST_VALUES]:
            indices, values = _encoded(table.column(name))
            self.values[name].update(values)
            if len(self.values[name]) > _MOST_VALUES:
                continue
            pairs = np.unique(codes.astype(np.int64) * max(len(values), 1) + indices)
            for pair in pairs.tolist():
                well, value = pair // len(values), values[pair % len(values)]
                if self.by_well[name].setdefault(well, value) != value:
                    self.by_well[name][well] = ""

    def _add_ids(self, table: pa.Table) -> None:
        if self.first.id and self.rows <= _IDS_CHECKED:
            known = table.column(self.first.id).to_pylist()
            self.ids.append(np.fromiter((hash(one) for one in known), np.int64, len(known)))

    def duplicates(self) -> int | None:
        if not self.first.id or self.rows > _IDS_CHECKED:
            return None
        ids = np.concatenate([np.zeros(0, np.int64), *self.ids])
        return len(ids) - len(np.unique(ids))

    def design(self) -> Design:
        few = {name: sorted(known) for name, known in self.values.items() if len(known) <= _MOST_VALUES}
        return design(self.schema, self.settings, few)


class _Numbers:
    """Sums by well and the samples' values, block of columns by block of columns."""

    def __init__(self, places: _Places, columns: int) -> None:
        self.places = places
        wells = max(len(places.numbers), 1)
        self.sums, self.known = np.zeros((wells, columns)), np.zeros((wells, columns), np.int64)
        self.low, self.high = np.full(columns, np.inf), np.full(columns, -np.inf)
        self.tables = [places.sample.table(), places.shown.table()] if places.rows else [pa.table({}), pa.table({})]
        self.samples = [places.sample, places.shown]
        self.values = [np.full((len(one.rows), columns), np.nan, np.float32) for one in self.samples]

    def block(self, rows: Rows, start: int, names: Sequence[str]) -> None:
        here = slice(start, start + len(names))
        row = 0
        for table, codes in _cut(rows.pieces(names), self.places.codes):
            block = np.column_stack([_floats(table.column(name)) for name in names])
            for sample, values in zip(self.samples, self.values, strict=True):
                inside = np.flatnonzero((sample.rows >= row) & (sample.rows < row + len(block)))
                values[inside, here] = block[sample.rows[inside] - row]
            row += len(block)
            self._add(block, codes, here)

    def _add(self, block: NDArray[np.float64], codes: NDArray[np.int32], here: slice) -> None:
        if not len(block):
            return
        finite = np.isfinite(block)
        self.low[here] = np.minimum(self.low[here], np.where(finite, block, np.inf).min(axis=0))
        self.high[here] = np.maximum(self.high[here], np.where(finite, block, -np.inf).max(axis=0))
        shape = (len(self.sums), len(block))
        where = sparse.csr_array((np.ones(len(block)), (codes, np.arange(len(block)))), shape=shape)
        self.sums[:, here] += where @ np.where(finite, block, 0.0)
        self.known[:, here] += np.rint(where @ finite.astype(np.float64)).astype(np.int64)


def _cut(pieces: Iterable[Piece], codes: Sequence[NDArray[np.int32]]) -> Iterator[tuple[pa.Table, NDArray[np.int32]]]:
    """Pieces and their wells, some thousand rows at a time: worked out they weigh ten times more."""
    for piece, of_rows in zip(pieces, codes, strict=True):
        for start in range(0, max(piece.table.num_rows, 1), _AT_ONCE):
            yield piece.table.slice(start, _AT_ONCE), of_rows[start : start + _AT_ONCE]


def _surveyed(places: _Places, numbers: _Numbers, columns: Sequence[Column]) -> Survey:
    order = sorted(places.numbers, key=_by_name)
    old = np.array([places.numbers[key] for key in order], np.intp)
    new = np.zeros(max(len(old), 1), np.int32)
    new[old] = np.arange(len(old))
    codes = np.concatenate([np.zeros(0, np.int32), *places.codes])
    counts = np.bincount(new[codes], minlength=len(order)).astype(np.int64) if len(codes) else np.zeros(0, np.int64)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (numbers.sums / numbers.known)[old]
    told = places.design()
    groups = {}
    for name in dict.fromkeys([told.group, told.controls, *places.by_well]):
        few = name and 1 < len(places.values[name]) <= MOST_GROUPS and name not in {told.plate, told.well}
        values = [places.by_well[name].get(int(code), "")[:_TEXT] for code in old] if few else []
        # A value that no two wells share names the well and not a treatment.
        if len(set(values)) < len([one for one in values if one]) or (values and name == told.group):
            groups[name] = values
    made = [
        Sample(one.rows, new[codes[one.rows]], one.parts, table, values)
        for one, table, values in zip(numbers.samples, numbers.tables, numbers.values, strict=True)
    ]
    return Survey(
        told, columns, places.rows, order, counts, means, numbers.known.sum(axis=0), numbers.low,
        numbers.high, groups, made[0], made[1], places.paths, places.duplicates(), places.unplaced,
    )  # fmt: skip


def _by_name(key: tuple[str, str]) -> tuple[str, int, str]:
    # A2 before A10, B1 after A12.
    letters = key[1].rstrip("0123456789")
    digits = key[1][len(letters) :]
    return f"{key[0]}\0{len(letters)}{letters}", int(digits[:9] or 0), key[1]


def _encoded(column: Any) -> tuple[NDArray[np.int32], list[str]]:
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    packed: Any = whole.dictionary_encode()
    if isinstance(packed, pa.ChunkedArray):
        packed = packed.unify_dictionaries().combine_chunks()
    return packed.indices.to_numpy(zero_copy_only=False).astype(np.int32), packed.dictionary.to_pylist()


def _floats(column: Any) -> NDArray[np.float64]:
    values = column.cast(pa.float64(), safe=False)
    found: NDArray[np.float64] = np.asarray(values.to_numpy(), np.float64)
    return found


def count_by(values: Sequence[str]) -> list[tuple[str, int]]:
    """Distinct values and how often each stands there, the most frequent first."""
    return sorted(Counter(values).items(), key=lambda pair: (-pair[1], pair[0]))
