"""Packing: sites into shards and an index, so that any stop can be continued and every input is accounted for.

A shard and the rows that describe it are one job. The shard is written first, then its part of the index under
``parts/``: a part says that its shard is whole. The index is assembled from the parts, and ``pack.json`` comes last;
a folder without it is not a pack yet.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import google_crc32c
import numpy as np
import pyarrow.parquet as pq

from phenostream.datasets import parts
from phenostream.datasets._files import locked, sweep, write_bytes
from phenostream.datasets._pool import ahead
from phenostream.datasets.coding import Coding
from phenostream.datasets.looking import SUSPICIONS, Finding, Kind, Look, finding, kind_of, look, separate
from phenostream.datasets.parts import Levels, Part
from phenostream.datasets.settings import PackSettings
from phenostream.datasets.shards import IMAGES, array_document, group_document, shard_path, write_shard
from phenostream.datasets.strategies import Shelf, arrange, identity
from phenostream.datasets.tables import (
    IDENTITY,
    fault_row,
    findings_table,
    identity_row,
    index_table,
    part_table,
    statistics_row,
)
from phenostream.errors import LedgerError, RecipeError
from phenostream.values import FieldId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import pyarrow as pa

    from phenostream.datasets._pool import Executor
    from phenostream.datasets.screens import Screen
    from phenostream.values import Field

VERSION = 1
_DEFAULTS = PackSettings()
DOCUMENT, PLAN = "pack.json", "plan.json"
INDEX, SHARDS, STATISTICS, FINDINGS = "index.parquet", "shards.parquet", "statistics.parquet", "findings.parquet"


@dataclass(frozen=True, slots=True)
class Job:
    """One shard to write.

    Attributes:
        folder: of the pack.
        array: name of its array.
        number: of the shard in its array.
        slots: sites that a shard of this array has room for.
        fields: the sites, in order of their slots.
        kind: what they must be.
        settings: of the pack.
    """

    folder: str
    array: str
    number: int
    slots: int
    fields: tuple[Field, ...]
    kind: Kind
    settings: PackSettings

    @property
    def key(self) -> str:
        """Digest of all that the bytes of this shard depend on, save the pixels."""
        coding = self.kind.coding
        told = [
            VERSION, self.array, self.number, self.slots, self.kind.channels, coding.shape, coding.dtype,
            self.settings.faults, self.settings.suspects, self.settings.saturated_share,
            [[identity(one), sorted(one.annotation.items()), [*map(repr, one.planes)]] for one in self.fields],
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Packed:
    """How packing ended.

    Attributes:
        folder: of the pack.
        sites: rows of its index.
        kept_blank: of these, sites at fault that stand in it as zeros.
        findings: every input that was left out or is marked, and why.
        inputs: sites given, absent ones and copies included; `sites` plus those left out.
        shards: files of pixels.
        shards_written: of these, written now.
        bytes: of all shards.
        raw_bytes: of the pixels in them, decoded.
    """

    folder: Path
    sites: int
    kept_blank: int
    findings: tuple[Finding, ...] = field(repr=False)
    inputs: int
    shards: int
    shards_written: int
    bytes: int
    raw_bytes: int


def pack(
    screen: Screen | Iterable[Field],
    folder: Path | str,
    *,
    settings: PackSettings = _DEFAULTS,
    workers: int = 1,
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Packed:
    """Pack sites into `folder`. Run it again after any stop, or with more plates, and it does what is left.

    Args:
        screen: sites to pack.
        folder: of the pack; absent, empty, or one that this has begun.
        settings: strategy, policies, sizes.
        workers: threads; decoding and compressing leave the interpreter's lock free.
        executor: where to compute instead: `phenostream.stream.Processes`, which scales further, one of
            `concurrent.futures`, or ``distributed.Client(...).get_executor()`` where all machines see the folder.
        progress: hears (shards done, shards in all).

    Raises:
        EmptyError: no sites.
        RecipeError: settings that do not fit the sites, or another pack in the folder; under ``fail``, the first site
            at fault as the error that it is.
        BusyError, DiskFullError: the folder cannot be had or written.
        StepError: a worker process died.
        PhenostreamError: a fault that may pass; what is done is kept.
    """
    root = Path(folder)
    fields, refused = _inputs(screen, settings)
    with locked(root):
        sweep(root)
        kind = _claim(root, settings, fields)
        shelves = arrange(fields, settings.strategy, settings.seed, by=settings.by, size=settings.sites_per_shelf)
        jobs = _jobs(root, shelves, kind, settings)
        waiting = _waiting(root, jobs)
        done = len(jobs) - len(waiting)
        for count, _ in enumerate(ahead(write, waiting, workers=workers, executor=executor), done + 1):
            if progress:
                progress(count, len(jobs))
        return _finish(root, jobs, kind, settings, refused, len(waiting))


def write(job: Job) -> str:
    """Write one shard, then its part of the index; runs in any process. Gives the job's key."""
    rows: dict[int, dict[str, Any]] = {}
    levels = Levels()
    path = shard_path(job.array, job.number)
    written, spans = write_shard(Path(job.folder) / path, job.slots, _blobs(job, rows, levels))
    for slot, (offset, length) in spans.items():
        place = {"array": job.array, "slot": job.number * job.slots + slot, "shard": path}
        rows[slot] |= place | {"offset": offset, "length": length}
    table = part_table(list(rows.values()), len(job.kind.channels))
    parts.save(Path(job.folder), job.key, Part(path, written, table, levels))
    return job.key


def _blobs(job: Job, rows: dict[int, dict[str, Any]], levels: Levels) -> Iterator[tuple[int, bytes]]:
    """The stored bytes of every site that is packed; `rows` gets a row of each that was given."""
    for slot, one in enumerate(job.fields):
        seen = judged(one, job)
        rows[slot] = identity_row(one)
        pixels = seen.pixels
        if seen.fault is not None:
            rows[slot] |= fault_row(seen.fault)
            if seen.fault.reason in SUSPICIONS or job.settings.faults == "drop":
                continue
            pixels = np.zeros(job.kind.coding.shape, job.kind.coding.dtype)
            rows[slot] |= {"blank": True}
        elif seen.statistics is not None and seen.counts is not None:
            levels.add(one, seen.counts)
            rows[slot] |= statistics_row(seen.statistics) | {"suspicion": " ".join(seen.suspicions) or None}
        if pixels is not None:
            blob = job.kind.coding.encode(pixels)
            rows[slot]["crc32c"] = int(google_crc32c.value(blob))
            yield slot, blob


def judged(one: Field, job: Job) -> Look:
    """A look at a site under the policies of the settings. Raises RecipeError under ``fail``."""
    seen = look(one, job.kind, saturated_share=job.settings.saturated_share)
    fault = seen.fault
    if fault is None and seen.suspicions and job.settings.suspects != "keep":
        fault = finding(one, seen.suspicions[0], "its pixels say so")
    if fault is None:
        return seen
    option = "suspects" if fault.reason in SUSPICIONS else "faults"
    if getattr(job.settings, option) == "fail":
        raise RecipeError(
            f"site {one.id} is at fault ({fault.reason}): {fault.message}", remedy=f"mend it, or set {option} to drop"
        ).at(file=", ".join(fault.files))
    return Look(fault=fault)


def _inputs(screen: Screen | Iterable[Field], settings: PackSettings) -> tuple[list[Field], list[Finding]]:
    """Sites each once, and findings of those that come again or are told of without images."""
    fields, refused = separate(screen)
    if refused and settings.faults == "fail":
        first = refused[0]
        raise RecipeError(
            f"site {first.id} is at fault ({first.reason}): {first.message}", remedy="set faults to drop"
        ).at(file=", ".join(first.files))
    return fields, refused


def _claim(root: Path, settings: PackSettings, fields: Sequence[Field]) -> Kind:
    """Make the folder this pack's, and say of which kind its sites are.

    Raises LedgerError where it is another pack's, or where sites that it holds are no longer given.
    """
    told = settings.model_dump(mode="json")
    if (root / PLAN).is_file():
        known = json.loads((root / PLAN).read_text(encoding="utf-8"))
        if known["settings"] != told:
            raise LedgerError(f"{root} was packed with other settings", remedy="choose another folder")
        _check_grown(root, fields)
        return Kind(tuple(known["channels"]), Coding(tuple(known["shape"]), known["dtype"]))
    if any(entry.name != "lock" for entry in root.iterdir()):
        raise LedgerError(f"{root} is not empty and no pack", remedy="choose another folder")
    kind = kind_of(fields, settings.channels)
    plan = {"settings": told, "channels": kind.channels, "shape": kind.coding.shape, "dtype": kind.coding.dtype}
    write_bytes(root / PLAN, _json(plan))
    return kind


def _check_grown(root: Path, fields: Sequence[Field]) -> None:
    if not (root / INDEX).is_file():
        return
    given = {one.id for one in fields}
    known = pq.read_table(root / INDEX, columns=list(IDENTITY)).to_pylist()
    lost = [one for row in known if (one := FieldId(**row)) not in given]
    if lost:
        raise LedgerError(
            f"{len(lost):,} sites of {root} are no longer given, the first {lost[0]}",
            remedy="give all sites again with the new ones, or choose another folder",
        )


def _jobs(root: Path, shelves: Iterable[Shelf], kind: Kind, settings: PackSettings) -> list[Job]:
    most = kind.coding.sites_in(settings.shard_mb * 1_000_000)
    jobs = []
    for shelf in shelves:
        slots = min(most, len(shelf.fields))
        jobs += [
            Job(str(root), shelf.name, number, slots, shelf.fields[start : start + slots], kind, settings)
            for number, start in enumerate(range(0, len(shelf.fields), slots))
        ]
    return jobs


def _waiting(root: Path, jobs: Sequence[Job]) -> list[Job]:
    """The jobs that are still to be done; what earlier inputs have left behind goes first."""
    stale = parts.keys(root) - {job.key for job in jobs}
    waiting = [job for job in jobs if not parts.is_done(root, job.key)]
    if stale or waiting:
        (root / DOCUMENT).unlink(missing_ok=True)
        parts.drop(root, stale)
    return waiting


def _finish(
    root: Path, jobs: Sequence[Job], kind: Kind, settings: PackSettings, refused: Sequence[Finding], new: int
) -> Packed:
    """Assemble the index from the parts and say what there is; the last file makes it a pack."""
    done = [parts.load(root, job.key) for job in jobs]
    table = index_table([part.table for part in done])
    found = [*_findings(part.table for part in done), *refused]
    _write_documents(root, jobs, kind, settings)
    tables = {
        INDEX: table,
        SHARDS: parts.shard_table(done),
        STATISTICS: parts.statistics_table(table, (part.levels for part in done), kind.channels),
        FINDINGS: findings_table(found),
    }
    hashes = {name: _write_table(root / name, one) for name, one in tables.items()}
    size = sum(part.written.bytes for part in done)
    blank = table.num_rows - table["fault"].null_count
    told = {
        "format": "phenostream-pack", "version": VERSION, "channels": kind.channels, "shape": kind.coding.shape,
        "dtype": kind.coding.dtype, "codec": kind.coding.name, "sites": table.num_rows, "shards": len(jobs),
        "bytes": size, "licence": settings.licence, "settings": settings.model_dump(mode="json"), "tables": hashes,
    }  # fmt: skip
    write_bytes(root / DOCUMENT, _json(told))
    given = sum(len(job.fields) for job in jobs) + len(refused)
    return Packed(
        root, table.num_rows, blank, tuple(found), given, len(jobs), new, size, table.num_rows * kind.coding.nbytes
    )


def _findings(tables: Iterable[pa.Table]) -> Iterator[Finding]:
    for table in tables:
        for row in table.filter(table["fault"].is_valid()).to_pylist():
            one = FieldId(**{name: row[name] for name in IDENTITY})
            yield Finding(one, row["fault"], row["message"] or "", tuple(row["files"] or ()))


def _write_documents(root: Path, jobs: Sequence[Job], kind: Kind, settings: PackSettings) -> None:
    """The Zarr documents of the arrays and of the groups that they lie in."""
    lengths: dict[str, int] = {}
    for job in jobs:
        lengths[job.array] = lengths.get(job.array, 0) + len(job.fields)
    attributes = {"channels": list(kind.channels), "licence": settings.licence}
    groups = {str(parent) for name in lengths for parent in PurePosixPath(name).parents}
    for group in groups:
        write_bytes(root / IMAGES / group / "zarr.json", group_document(attributes if group == "." else {}))
    slots = {job.array: job.slots for job in jobs}
    for name, length in lengths.items():
        write_bytes(root / IMAGES / name / "zarr.json", array_document(kind.coding, length, slots[name], attributes))


def _write_table(path: Path, table: pa.Table) -> str:
    """Write a table durably; SHA-256 of its bytes."""
    payload = parts.parquet_bytes(table)
    write_bytes(path, payload)
    return hashlib.sha256(payload).hexdigest()


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
