"""Parts: what one shard adds to the index, kept beside the pack so that no shard is ever written or read twice."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from phenostream import disk
from phenostream.datasets._files import write_bytes
from phenostream.datasets.shards import Written
from phenostream.datasets.statistics import BINS, Pool, percentile_of
from phenostream.errors import DamagedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from phenostream.values import Field

FOLDER = "parts"
_KEY = b"phenostream_shard"
_GROUP_PERCENTILES = (0.1, 1.0, 50.0, 99.0, 99.9)


@dataclass(slots=True, eq=False)
class Levels:
    """Grey-level counts (C, BINS) of each (experiment, plate)."""

    groups: dict[tuple[str, str], NDArray[np.int64]] = field(default_factory=dict)

    def add(self, one: Field, counts: NDArray[np.int64]) -> None:
        """Take in the counts of a site."""
        self.gather((one.annotation.get("experiment", ""), one.id.plate), counts)

    def gather(self, group: tuple[str, str], counts: NDArray[np.int64]) -> None:
        """Take in counts of a group."""
        known = self.groups.get(group)
        self.groups[group] = counts.copy() if known is None else known + counts

    def table(self) -> pa.Table:
        """One row a group, channel and bin that has pixels."""
        columns: dict[str, list[Any]] = {name: [] for name in ("experiment", "plate", "channel", "bin", "count")}
        for (experiment, plate), counts in self.groups.items():
            channel, place = np.nonzero(counts)
            columns["experiment"] += [experiment] * len(channel)
            columns["plate"] += [plate] * len(channel)
            for name, values in (("channel", channel), ("bin", place), ("count", counts[channel, place])):
                columns[name] += values.tolist()
        types = dict.fromkeys(("channel", "bin", "count"), pa.int64())
        return pa.table({name: pa.array(values, types.get(name, pa.string())) for name, values in columns.items()})

    @classmethod
    def of(cls, table: pa.Table, channels: int) -> Levels:
        """What `table` was made of."""
        found = cls()
        names = zip(table["experiment"].to_pylist(), table["plate"].to_pylist(), strict=True)
        numbers = (table[name].to_numpy() for name in ("channel", "bin", "count"))
        for group, channel, place, count in zip(names, *numbers, strict=True):
            if group not in found.groups:
                found.groups[group] = np.zeros((channels, BINS), np.int64)
            found.groups[group][channel, place] = count
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A shard and what it adds.

    Attributes:
        path: of the shard, relative to the pack.
        written: its bytes and checksum.
        table: a row for every site given to it, faulty ones included.
        levels: grey-level counts of its sites.
    """

    path: str
    written: Written
    table: pa.Table
    levels: Levels


def keys(root: Path) -> set[str]:
    """Keys of all parts below `root`."""
    return {path.name.partition(".")[0] for path in (root / FOLDER).glob("*.parquet")}


def save(root: Path, key: str, part: Part) -> None:
    """Make a part durable; its table comes last and says that it is whole."""
    told = {"path": part.path, "bytes": part.written.bytes, "crc32c": part.written.crc32c}
    table = part.table.replace_schema_metadata({_KEY: json.dumps(told)})
    write_bytes(_levels(root, key), parquet_bytes(part.levels.table()))
    write_bytes(_table(root, key), parquet_bytes(table))


def is_done(root: Path, key: str) -> bool:
    """Whether the part `key` is there, whole, and so is its shard by its length."""
    try:
        told = _told(pq.read_schema(_table(root, key)))
        return _levels(root, key).is_file() and (root / told["path"]).stat().st_size == told["bytes"]
    except (OSError, pa.ArrowInvalid, KeyError):
        return False


def load(root: Path, key: str) -> Part:
    """The part `key`. Raises DamagedError."""
    try:
        table, levels = (pq.read_table(path, page_checksum_verification=True) for path in
                         (_table(root, key), _levels(root, key)))  # fmt: skip
        told = _told(table.schema)
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise DamagedError(f"part {key} of {root} is damaged: {error}", remedy="delete it and pack again") from error
    channels = table.schema.field("pixel_mean").type.list_size
    return Part(told["path"], Written(told["bytes"], told["crc32c"]), table, Levels.of(levels, channels))


def drop(root: Path, stale: Iterable[str]) -> None:
    """Delete parts, durably."""
    gone = [path for key in stale for path in (_table(root, key), _levels(root, key))]
    for path in gone:
        path.unlink(missing_ok=True)
    if gone:
        disk.sync(root / FOLDER)


def shard_table(done: Sequence[Part]) -> pa.Table:
    """One row a shard: path, bytes, crc32c of the whole file, sites in it."""
    return pa.table(
        {
            "shard": pa.array([part.path for part in done], pa.string()),
            "bytes": pa.array([part.written.bytes for part in done], pa.int64()),
            "crc32c": pa.array([part.written.crc32c for part in done], pa.uint32()),
            "sites": pa.array([len(part.table["offset"].drop_null()) for part in done], pa.int64()),
        }
    )


def statistics_table(index: pa.Table, levels: Iterable[Levels], channels: Sequence[str]) -> pa.Table:
    """Pixel statistics of every plate, every experiment and the whole pack, one row a channel; without faulty sites."""
    counts = Levels()
    for one in levels:
        for plate, values in one.groups.items():
            counts.gather(plate, values)
    pools = _pools(index, len(channels))
    for plate, values in counts.groups.items():
        for group in _groups(*plate):
            pools[group].add_counts(values)
    rows = [row for group, pool in pools.items() for row in _rows(group, pool, channels)]
    return pa.Table.from_pylist(rows, schema=_schema())


def parquet_bytes(table: pa.Table) -> bytes:
    """`table` as Parquet with page checksums; the same table gives the same bytes."""
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd", write_page_checksum=True)
    return out.getvalue()


def _groups(experiment: str, plate: str) -> list[tuple[str, str, str]]:
    own = [("experiment", experiment, "")] if experiment else []
    return [("plate", experiment, plate), *own, ("pack", "", "")]


def _pools(index: pa.Table, channels: int) -> dict[tuple[str, str, str], Pool]:
    sound = index.filter(index["pixel_mean"].is_valid())
    wanted = ["plate", "pixel_mean", "pixel_std", "pixel_min", "pixel_max"]
    named = [*wanted, "experiment"] if "experiment" in sound.column_names else wanted
    pools: dict[tuple[str, str, str], Pool] = {}
    for row in sound.select(named).to_pylist():
        for group in _groups(str(row.get("experiment") or ""), row["plate"]):
            pools.setdefault(group, Pool.empty(channels)).add(row)
    return pools


def _rows(group: tuple[str, str, str], pool: Pool, channels: Sequence[str]) -> list[dict[str, Any]]:
    level, experiment, plate = group
    return [
        {
            "level": level, "experiment": experiment, "plate": plate, "channel": name, "sites": pool.sites,
            "mean": pool.mean[c], "std": pool.std[c], "min": pool.least[c], "max": pool.most[c],
            **{_percentile_name(p): percentile_of(pool.counts[c], p) if pool.counts.size else None
               for p in _GROUP_PERCENTILES},
        }
        for c, name in enumerate(channels)
    ]  # fmt: skip


def _schema() -> pa.Schema:
    words = [(name, pa.string()) for name in ("level", "experiment", "plate", "channel")]
    numbers = ["mean", "std", "min", "max", *(_percentile_name(p) for p in _GROUP_PERCENTILES)]
    types: dict[str, pa.DataType] = {**dict(words), "sites": pa.int64(), **dict.fromkeys(numbers, pa.float64())}
    return pa.schema(types)


def _percentile_name(percentile: float) -> str:
    return f"p{percentile:g}"


def _told(schema: pa.Schema) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((schema.metadata or {})[_KEY])
    return found


def _table(root: Path, key: str) -> Path:
    return root / FOLDER / f"{key}.parquet"


def _levels(root: Path, key: str) -> Path:
    return root / FOLDER / f"{key}.levels"
