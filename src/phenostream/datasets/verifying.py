"""Verifying: every byte of a pack compared again with what was written, and faults named by shard and by site."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import google_crc32c

from phenostream.datasets._pool import ahead
from phenostream.datasets.documents import digest, unseal
from phenostream.datasets.packs import Pack, open_pack, read_table
from phenostream.datasets.plans import DOCUMENT
from phenostream.errors import DamagedError, NotFoundError, PhenostreamError
from phenostream.sources.names import checked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from phenostream.datasets._pool import Executor

_STEP = 8 << 20


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is not as it was written.

    Attributes:
        shard: file, relative to the pack; a table or document where the fault is in one.
        kind: ``missing``, ``length``, ``checksum``.
        sites: names of the sites whose bytes are touched; empty where the fault lies between sites.
        message: what exactly.
    """

    shard: str
    kind: str
    sites: tuple[str, ...]
    message: str


@dataclass(frozen=True, slots=True)
class Verified:
    """How verifying ended.

    Attributes:
        shards: files compared.
        sites: sites of the pack.
        bytes: hashed.
        faults: what is wrong; empty is the promise.
    """

    shards: int
    sites: int
    bytes: int
    faults: tuple[Fault, ...]


def verify_pack(
    base: str | Path | Pack,
    *,
    workers: int = 1,
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Verified:
    """Hash every shard, table and document of a pack again, local or behind a URL: all that is read of it.

    Packing again into the folder writes anew what is named, and nothing else. (``plan.json`` and ``parts``, which only
    packing reads, are checked by it.)

    Args:
        base: folder or URL of a pack, or an open one.
        workers: threads.
        executor: where to hash instead, see `phenostream.datasets.pack`.
        progress: hears (shards done, shards in all).

    Raises:
        NotFoundError: no finished pack there.
        DamagedError: the description or the index itself; without them there is nothing to compare with.
        PhenostreamError: a fault of the transport that may pass.
    """
    pack = base if isinstance(base, Pack) else open_pack(base)
    faults, told = _documents(pack), None
    for name in sorted(pack.description.tables):
        try:
            table = read_table(pack.store, name, pack.description, pack.base)
            told = table if name == "shards.parquet" else told
        except (DamagedError, NotFoundError) as error:
            faults.append(Fault(name, "missing" if isinstance(error, NotFoundError) else "checksum", (), error.message))
    # Without its table, a shard is judged by its sites alone.
    rows = (
        told.to_pylist()
        if told is not None
        else [{"shard": name, "bytes": None, "crc32c": None} for name in pack.shards]
    )
    calls = [(str(row["shard"]), row["bytes"], row["crc32c"]) for row in rows]
    for count, found in enumerate(ahead(partial(_checked, pack), calls, workers=workers, executor=executor), 1):
        faults += [found] if found else []
        if progress:
            progress(count, len(calls))
    size = sum(int(length or 0) for _, length, _ in calls)
    return Verified(len(calls), len(pack), size, tuple(sorted(faults, key=lambda one: one.shard)))


def _documents(pack: Pack) -> list[Fault]:
    """What is wrong with the description, and with the Zarr documents."""
    faults = []
    try:
        unseal(pack.store.read(DOCUMENT), f"{DOCUMENT} of {pack.base}")
    except DamagedError as error:
        return [Fault(DOCUMENT, "checksum", (), error.message)]
    for name, written in sorted(pack.description.documents.items()):
        try:
            if digest(pack.store.read(checked(name))) != written:
                faults.append(Fault(name, "checksum", (), "its bytes have changed"))
        except NotFoundError:
            faults.append(Fault(name, "missing", (), "the file is not there"))
    return faults


def _checked(pack: Pack, shard: tuple[str, int | None, int | None]) -> Fault | None:
    """What is wrong with a shard; runs in any process."""
    name, size, crc = shard
    try:
        length, found = _hashed(pack, name)
    except NotFoundError:
        return Fault(name, "missing", _sites(pack, name), "the file is not there")
    if size is None or (length == size and found == crc):
        broken = _broken(pack, name) if size is None else ()
        return Fault(name, "checksum", broken, f"{len(broken)} sites fail their checksum") if broken else None
    kind = "checksum" if length == size else "length"
    message = f"{length:,} bytes where {size:,} were written" if kind == "length" else "its bytes have changed"
    return Fault(name, kind, _broken(pack, name), message)


def _hashed(pack: Pack, name: str) -> tuple[int, int]:
    length, crc = pack.store.size(name), 0
    for start in range(0, length, _STEP):
        crc = google_crc32c.extend(crc, pack.store.read(name, start, min(start + _STEP, length)))
    return length, int(crc)


def _broken(pack: Pack, name: str) -> tuple[str, ...]:
    """Names of the sites of a shard that cannot be read as written."""
    number = pack.shards.index(name) if name in pack.shards else -1
    lost = []
    for index in (pack.shard_numbers == number).nonzero()[0]:
        try:
            pack.blob(int(index))
        except PhenostreamError as error:
            if error.transient:
                raise
            lost.append(str(pack.table["site_id"][int(index)].as_py()))
    return tuple(lost)


def _sites(pack: Pack, name: str) -> tuple[str, ...]:
    return tuple(str(row) for row, shard in zip(pack.table["site_id"].to_pylist(), pack.table["shard"].to_pylist(),
                                               strict=True) if shard == name)  # fmt: skip
