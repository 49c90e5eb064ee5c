"""Quick figures by well, streamed over the parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from phenostream.profiles.read import iter_profiles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_KEYS = ["Metadata_Plate", "Metadata_Well"]


def wells(path: str | Path, columns: Sequence[str] = ()) -> pa.Table:
    """Objects and mean values by plate and well.

    Args:
        path: a run folder or a Parquet file of profiles.
        columns: numeric columns to average; missing values do not count.

    Returns:
        ``Metadata_Plate``, ``Metadata_Well``, ``count`` (int64), then the mean of each column (float64, null where a
        well has no value), ordered by plate and well as text. Memory holds one part and one line a well.

    Raises:
        NotFoundError: nothing at `path`, or no such column.
    """
    sums: pa.Table | None = None
    for table in iter_profiles(path, [*_KEYS, *columns]):
        part = _sums(table, columns)
        sums = part if sums is None else _total(pa.concat_tables([sums, part]))
    if sums is None:
        return pa.table({})
    means = [pc.divide(sums.column(f"{name}_sum"), pc.cast(_or_null(sums.column(f"{name}_n")), pa.float64()))
             for name in columns]  # fmt: skip
    table = pa.table([*(sums.column(key) for key in _KEYS), sums.column("count"), *means], [*_KEYS, "count", *columns])
    return table.sort_by([(key, "ascending") for key in _KEYS])


def _sums(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    made = {key: table.column(key) for key in _KEYS} | {"count": pa.repeat(pa.scalar(1, pa.int64()), table.num_rows)}
    for name in columns:
        values: Any = table.column(name).cast(pa.float64())
        values = pc.if_else(pc.is_finite(values), values, None)
        made[f"{name}_sum"] = pc.fill_null(values, 0.0)
        made[f"{name}_n"] = pc.is_valid(values).cast(pa.int64())
    return _total(pa.table(made))


def _total(table: pa.Table) -> pa.Table:
    names = [name for name in table.column_names if name not in _KEYS]
    totals = table.group_by(_KEYS, use_threads=False).aggregate([(name, "sum") for name in names])
    return totals.select([*_KEYS, *(f"{name}_sum" for name in names)]).rename_columns([*_KEYS, *names])


def _or_null(counts: Any) -> Any:
    return pc.if_else(pc.equal(counts, pa.scalar(0)), None, counts)
