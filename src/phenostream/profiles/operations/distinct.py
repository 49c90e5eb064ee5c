"""Distinct: no cell twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from phenostream.errors import DamagedError
from phenostream.profiles.groups import as_text
from phenostream.profiles.kernels import text_hashes
from phenostream.profiles.operating import Names, OperationSettings, Outcome
from phenostream.profiles.schema import CELL_ID
from phenostream.profiles.tables import Filtered, require

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phenostream.profiles.tables import Source

_FNV_OFFSET = np.uint64(14695981039346656037)


class Settings(OperationSettings):
    """What makes two rows the same."""

    by: Names = Field((CELL_ID,), min_length=1, description="columns that together name a row")
    twice: Literal["refuse", "first", "drop"] = Field(
        "refuse", description="rows of one name: an error, the first is kept, or none of them; counted"
    )


def operate(source: Source, settings: Settings, fitted: pa.Table | None = None) -> Outcome:
    """The rows, each name once. Memory holds 17 bytes a row (a hash, its order, a verdict).

    Returns:
        The rows. Rejected: ``row`` and ``reason`` (``duplicate``). Told: ``rows``, ``duplicates`` (rows beyond the
        first of each name).

    Raises:
        DamagedError: a name stands twice, and `twice` is refuse.
        NotFoundError: a column is not there.
    """
    del fitted
    require(source.schema(), settings.by)
    hashes = np.concatenate([_hashes(table, settings.by) for table in source.tables(settings.by)])
    order = np.argsort(hashes, kind="stable")
    same = hashes[order][1:] == hashes[order][:-1]
    suspects = np.unique(np.concatenate([order[1:][same], order[:-1][same]]))
    later, any_ = _really(source, settings.by, suspects)
    told = {"rows": len(hashes), "duplicates": len(later)}
    gone = any_ if settings.twice == "drop" else later
    if len(later) and settings.twice == "refuse":
        raise DamagedError(
            f"{len(later):,} rows repeat the {' and '.join(settings.by)} of another, first row {later[0]:,}",
            remedy="was a table joined to itself? set `twice` to first or drop to go on without them",
        )
    keep = np.ones(len(hashes), bool)
    keep[gone] = False
    rejected = pa.table({"row": pa.array(gone, pa.int64()), "reason": pa.array(["duplicate"] * len(gone), pa.string())})
    return Outcome(Filtered(source, keep), told, rejected=rejected)


def _hashes(table: pa.Table, names: Names) -> NDArray[np.uint64]:
    seeds = np.full(table.num_rows, _FNV_OFFSET, np.uint64)
    for name in names:
        column: Any = as_text(table.column(name))
        flat = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        texts = flat.cast(pa.large_string()).fill_null("\x00")
        buffers: list[Any] = texts.buffers()
        _, offsets, data = buffers
        bounds = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
        raw = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
        if len(texts):
            text_hashes(raw, bounds, seeds)
    return seeds


def _really(source: Source, names: Names, suspects: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows whose names, not only hashes, were seen before; and these with the first of each."""
    seen: dict[tuple[Any, ...], int] = {}
    later, firsts, start = [], set[int](), 0
    for table in source.tables(names) if len(suspects) else ():
        here = suspects[(suspects >= start) & (suspects < start + table.num_rows)]
        for row, key in zip(here.tolist(), table.take(here - start).to_pylist(), strict=True):
            name = tuple(key.values())
            if name in seen:
                later.append(row)
                firsts.add(seen[name])
            else:
                seen[name] = row
        start += table.num_rows
    return np.array(later, np.int64), np.array(sorted({*later, *firsts}), np.int64)
