"""Parts: what one shard adds to the index, kept beside the pack so that no shard is ever written or read twice."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from phenostream import disk
from phenostream.datasets._files import checksum, write_bytes
from phenostream.datasets.documents import digest, seal, unseal
from phenostream.datasets.shards import Written
from phenostream.datasets.statistics import BINS, Pool, percentile_of
from phenostream.datasets.tables import IDENTITY
from phenostream.errors import DamagedError
from phenostream.values import FieldId

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from phenostream.values import Field

FOLDER = "parts"
_AGAIN = "pack again: it is written anew"
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
    """Keys of all parts below `root`, whole or not."""
    return {path.name.partition(".")[0] for path in (root / FOLDER).glob("*.*")}


def save(root: Path, key: str, part: Part) -> None:
    """Make a part durable; its seal comes last and says that it is whole."""
    tables = {"table": parquet_bytes(part.table), "levels": parquet_bytes(part.levels.table())}
    write_bytes(_table(root, key), tables["table"])
    write_bytes(_levels(root, key), tables["levels"])
    told = {"path": part.path, "bytes": part.written.bytes, "crc32c": part.written.crc32c}
    write_bytes(_seal(root, key), seal(told | {name: digest(payload) for name, payload in tables.items()}))


def is_whole(root: Path, key: str) -> bool:
    """Whether the part `key` is there as it was written, and so is its shard, by every byte of both."""
    try:
        told, *_ = _checked(root, key)
        path = root / told["path"]
        return path.stat().st_size == told["bytes"] and checksum(path) == (told["bytes"], told["crc32c"])
    except (OSError, DamagedError):
        return False


def held(root: Path, key: str) -> set[FieldId] | None:
    """The sites whose pixels were stored with the part `key`; None where it is not there as it was written."""
    try:
        table = load(root, key).table
    except DamagedError:
        return None
    stored = table.filter(pc.and_(table["offset"].is_valid(), table["fault"].is_null()))
    return {FieldId(**row) for row in stored.select(list(IDENTITY)).to_pylist()}


def load(root: Path, key: str) -> Part:
    """The part `key`. Raises DamagedError where one of its bytes is not what was written."""
    told, *payloads = _checked(root, key)
    table, levels = (pq.ParquetFile(pa.BufferReader(one)).read(use_threads=False) for one in payloads)
    channels = table.schema.field("pixel_mean").type.list_size
    return Part(told["path"], Written(told["bytes"], told["crc32c"]), table, Levels.of(levels, channels))


def _checked(root: Path, key: str) -> tuple[dict[str, Any], bytes, bytes]:
    """What the seal of a part says, and the bytes of its two tables. Raises DamagedError."""
    what = f"part {key} of {root}"
    try:
        told = unseal(_seal(root, key).read_bytes(), what, remedy=_AGAIN)
        table, levels = _table(root, key).read_bytes(), _levels(root, key).read_bytes()
    except OSError as error:
        raise DamagedError(f"{what} cannot be read: {error}", remedy=_AGAIN) from error
    if (digest(table), digest(levels)) != (told["table"], told["levels"]):
        raise DamagedError(f"{what} is not what was written", remedy=_AGAIN)
    return told, table, levels


def drop(root: Path, stale: Iterable[str]) -> None:
    """Delete parts, durably."""
    gone = [path for key in stale for path in (_seal(root, key), _table(root, key), _levels(root, key))]
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


def _seal(root: Path, key: str) -> Path:
    return root / FOLDER / f"{key}.json"


def _table(root: Path, key: str) -> Path:
    return root / FOLDER / f"{key}.parquet"


def _levels(root: Path, key: str) -> Path:
    return root / FOLDER / f"{key}.levels"
