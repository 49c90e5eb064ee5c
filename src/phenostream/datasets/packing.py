"""Packing: sites into shards and an index, so that any stop can be continued and every input is accounted for.

A shard and the rows that describe it are one job. The shard is written first, then its part of the index under
``parts/``: a part says that its shard is whole. The index is assembled from the parts, and ``pack.json`` comes last;
a folder without it is not a pack yet.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import google_crc32c
import numpy as np

from phenostream import formats
from phenostream.datasets import parts
from phenostream.datasets._files import local, locked, sweep, write_bytes
from phenostream.datasets._pool import ahead
from phenostream.datasets.documents import digest, seal
from phenostream.datasets.looking import SUSPICIONS, Finding, Kind, Look, finding, look, separate
from phenostream.datasets.parts import Levels, Part
from phenostream.datasets.plans import DOCUMENT, FINDINGS, INDEX, SHARDS, STATISTICS, claim
from phenostream.datasets.screens import Screen
from phenostream.datasets.settings import PackSettings
from phenostream.datasets.shards import IMAGES, array_document, group_document, shard_path, write_shard
from phenostream.datasets.strategies import Shelf, cut, identity, shelves
from phenostream.datasets.tables import (
    IDENTITY,
    fault_row,
    findings_table,
    identity_row,
    index_table,
    part_table,
    statistics_row,
)
from phenostream.errors import DamagedError, RecipeError
from phenostream.values import FieldId

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Sequence

    import pyarrow as pa

    from phenostream.datasets._pool import Executor
    from phenostream.values import Field

VERSION = 1
_DEFAULTS = PackSettings()


@dataclass(frozen=True, slots=True)
class Job:
    """One shard to write.

    Attributes:
        folder: of the pack.
        array: name of its array.
        number: of the shard in its array.
        length: slots of the array, empty ones included.
        slots: sites that a shard of this array has room for.
        fields: the sites, in order of their slots; None leaves one empty.
        kind: what they must be.
        settings: of the pack.
    """

    folder: str
    array: str
    number: int
    length: int
    slots: int
    fields: tuple[Field | None, ...]
    kind: Kind
    settings: PackSettings

    @property
    def key(self) -> str:
        """Digest of all that the bytes of this shard depend on, save the pixels."""
        coding = self.kind.coding
        told = [
            VERSION, self.array, self.number, self.slots, self.kind.channels, coding.shape, coding.dtype,
            self.settings.faults, self.settings.suspects, self.settings.saturated_share,
            [one and [identity(one), sorted(one.annotation.items()), [*map(repr, one.planes)]] for one in self.fields],
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

    Shards that are there are compared with their checksums, and damaged ones are written anew.

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
        LedgerError: another pack, or something else, in the folder; sites that it holds are no longer given.
        DamagedError: the folder's plan is damaged in a pack that was never finished; a shard is damaged, and so is now
            the source of a site in it.
        BusyError, DiskFullError: the folder cannot be had or written.
        StepError: a worker process died.
        PhenostreamError: a fault that may pass; what is done is kept.
    """
    root = local(folder)
    fields, refused = _inputs(screen, settings)
    absent = screen.imageless if isinstance(screen, Screen) else ()
    with locked(root):
        sweep(root)
        kind = claim(root, settings, fields)
        jobs = _jobs(root, shelves(fields, absent, settings), kind, settings, {one.id for one in fields})
        waiting = _waiting(root, jobs, workers, executor)
        done = len(jobs) - len(waiting)
        for count, _ in enumerate(ahead(write, waiting, workers=workers, executor=executor), done + 1):
            if progress:
                progress(count, len(jobs))
        packed = [parts.load(root, job.key) for job in jobs]
        found = findings_table((part.table for part in packed), refused, absent)
        _finish(root, jobs, packed, found)
        return _told(root, jobs, packed, refused, len(waiting))


def write(job: Job) -> str:
    """Write one shard, then its part of the index; runs in any process. Gives the job's key."""
    rows: dict[int, dict[str, Any]] = {}
    levels = Levels()
    before = parts.held(Path(job.folder), job.key) or set()
    path = shard_path(job.array, job.number)
    with formats.together(filter(None, job.fields)):
        written, spans = write_shard(Path(job.folder) / path, job.slots, _blobs(job, rows, levels, before))
    for slot, (offset, length) in spans.items():
        place = {"array": job.array, "slot": job.number * job.slots + slot, "shard": path}
        rows[slot] |= place | {"offset": offset, "length": length}
    table = part_table(list(rows.values()), len(job.kind.channels))
    parts.save(Path(job.folder), job.key, Part(path, written, table, levels))
    return job.key


def _blobs(
    job: Job, rows: dict[int, dict[str, Any]], levels: Levels, before: Container[FieldId]
) -> Iterator[tuple[int, bytes]]:
    """The stored bytes of every site that is packed; `rows` gets a row of each that was given.

    Raises DamagedError where a site that was stored `before` is at fault now: what is left of its shard is worth more.
    """
    for slot, one in enumerate(job.fields):
        if one is None:
            continue
        seen = judged(one, job)
        rows[slot] = identity_row(one)
        pixels = seen.pixels
        if seen.fault is not None:
            if one.id in before:
                raise _lost(one, seen.fault, job)
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


def _lost(one: Field, fault: Finding, job: Job) -> DamagedError:
    shard = shard_path(job.array, job.number)
    error = DamagedError(
        f"shard {shard} is damaged, and site {one.id} of it cannot be packed again ({fault.reason}): {fault.message}",
        remedy="bring its images back and pack again; what is whole of the shard stays readable until then",
    )
    return error.at(file=", ".join(fault.files))


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


def _jobs(
    root: Path, arranged: Iterable[Shelf], kind: Kind, settings: PackSettings, given: Container[FieldId]
) -> list[Job]:
    most = kind.coding.sites_in(settings.shard_mb * 1_000_000)
    jobs = []
    for shelf in arranged:
        length = len(shelf.fields)
        slots = min(most, length)
        jobs += [
            Job(str(root), shelf.name, number, length, slots, fields, kind, settings)
            for number, fields in cut(shelf, slots, given)
        ]
    return jobs


def _waiting(root: Path, jobs: Sequence[Job], workers: int, executor: Executor | None) -> list[Job]:
    """The jobs that are still to be done, or whose files are damaged; what earlier inputs have left goes first."""
    known = parts.keys(root)
    told = ahead(
        partial(_seen, root), [job.key for job in jobs if job.key in known], workers=workers, executor=executor
    )
    whole = {key for key, is_whole in told if is_whole}
    waiting = [job for job in jobs if job.key not in whole]
    stale = known - {job.key for job in jobs}
    # A shard that is mended becomes what it was: until then, the pack is one with a fault, and not none.
    if stale or any(parts.held(root, job.key) is None for job in waiting):
        (root / DOCUMENT).unlink(missing_ok=True)
        parts.drop(root, stale)
    return waiting


def _seen(root: Path, key: str) -> tuple[str, bool]:
    return key, parts.is_whole(root, key)


def _finish(root: Path, jobs: Sequence[Job], packed: Sequence[Part], findings: pa.Table) -> None:
    """Assemble the tables from the parts; the last file makes the folder a pack."""
    kind, settings = jobs[0].kind, jobs[0].settings
    table = index_table([part.table for part in packed])
    tables = {
        INDEX: table,
        SHARDS: parts.shard_table(packed),
        STATISTICS: parts.statistics_table(table, (part.levels for part in packed), kind.channels),
        FINDINGS: findings,
    }
    told = {
        "format": "phenostream-pack", "version": VERSION, "channels": kind.channels, "shape": kind.coding.shape,
        "dtype": kind.coding.dtype, "codec": kind.coding.name, "sites": table.num_rows, "shards": len(jobs),
        "bytes": sum(part.written.bytes for part in packed), "licence": settings.licence,
        "settings": settings.model_dump(mode="json"), "documents": _write_documents(root, jobs, kind, settings),
        "tables": {name: _write(root / name, parts.parquet_bytes(one)) for name, one in tables.items()},
    }  # fmt: skip
    write_bytes(root / DOCUMENT, seal(told))


def _told(root: Path, jobs: Sequence[Job], packed: Sequence[Part], refused: Sequence[Finding], new: int) -> Packed:
    stored = [part.table.filter(part.table["offset"].is_valid()) for part in packed]
    sites = sum(table.num_rows for table in stored)
    return Packed(
        folder=root,
        sites=sites,
        kept_blank=sites - sum(table["fault"].null_count for table in stored),
        findings=(*_findings(part.table for part in packed), *refused),
        inputs=sum(one is not None for job in jobs for one in job.fields) + len(refused),
        shards=len(jobs),
        shards_written=new,
        bytes=sum(part.written.bytes for part in packed),
        raw_bytes=sites * jobs[0].kind.coding.nbytes,
    )


def _findings(tables: Iterable[pa.Table]) -> Iterator[Finding]:
    for table in tables:
        for row in table.filter(table["fault"].is_valid()).to_pylist():
            one = FieldId(**{name: row[name] for name in IDENTITY})
            yield Finding(one, row["fault"], row["message"] or "", tuple(row["files"] or ()))


def _write_documents(root: Path, jobs: Sequence[Job], kind: Kind, settings: PackSettings) -> dict[str, str]:
    """Write the Zarr documents of the arrays and of the groups that they lie in; the digest of each."""
    attributes = {"channels": list(kind.channels), "licence": settings.licence}
    arrays = {job.array: array_document(kind.coding, job.length, job.slots, attributes) for job in jobs}
    groups = {str(parent) for name in arrays for parent in PurePosixPath(name).parents}
    documents = {group: group_document(attributes if group == "." else {}) for group in groups} | arrays
    paths = {(PurePosixPath(IMAGES) / name / "zarr.json").as_posix(): payload for name, payload in documents.items()}
    return {path: _write(root / path, payload) for path, payload in paths.items()}


def _write(path: Path, payload: bytes) -> str:
    """Write a file durably; the digest of its bytes."""
    write_bytes(path, payload)
    return digest(payload)
