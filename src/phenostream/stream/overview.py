"""The state of a run in one value, read from its ledger while it runs or after."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from phenostream import disk
from phenostream.profiles.places import run_folder
from phenostream.stream.folder import size_of
from phenostream.stream.ledger import Ledger

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Failure:
    """One input that gave no part, and why."""

    id: str
    state: str
    plate: str
    well: str
    site: str
    frame: int
    step: str
    reason: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Status:
    """One screen: how many of each state, why not, how fast, how much disk, how long still.

    Attributes:
        reasons: (state, reason) to count.
        rate: units done in an hour over the latest stretch of work, 0 where unknown.
        eta: seconds still to go at that rate, None where unknown.
        pid: process that works on it now, 0 for none.
        stages: mean seconds a unit by stage.
    """

    folder: Path
    inputs: int
    done: int
    rejected: int
    failed: int
    waiting: int
    rows: int
    reasons: dict[tuple[str, str], int]
    disk: int
    disk_budget: int
    peak_disk: int
    bytes_moved: int
    rate: float
    eta: float | None
    pid: int
    stages: dict[str, float]


def status(folder: str | Path) -> Status:
    """The state of the run in `folder`, or in the ``s3://`` or ``gs://`` depot of one as last told there.

    Raises NotFoundError where there is none.
    """
    path = run_folder(folder)
    ledger = Ledger(path)
    try:
        tally = sorted(ledger.tally(), key=lambda line: -line[2])
        counts = ledger.counts()
        reasons = {(state, reason): units for state, reason, units, _ in tally if state in ("rejected", "failed")}
        rate = _rate(ledger)
        waiting = counts["waiting"]
        return Status(
            path, counts.total(), counts["done"], counts["rejected"], counts["failed"],
            waiting, sum(rows for *_, rows in tally), reasons,
            size_of(path / "spool"), int(ledger.get("disk_budget", "0")), int(ledger.get("peak_disk", "0")),
            int(ledger.get("bytes_moved", "0")), rate, 3600 * waiting / rate if rate and waiting else None,
            disk.holder(path), mean_seconds(ledger),
        )  # fmt: skip
    finally:
        ledger.close()


def failures(folder: str | Path, limit: int | None = None) -> list[Failure]:
    """Every input that gave no part, in plan order."""
    ledger = Ledger(run_folder(folder))
    try:
        return [
            Failure(*row)
            for row in ledger.query(
                "SELECT error_id, state, plate, well, site, time + 1, coalesce(step, ''), reason, message,"
                " coalesce(remedy, '') FROM units INDEXED BY units_at_fault"
                " WHERE state IN ('rejected','failed') ORDER BY position LIMIT ?",
                (-1 if limit is None else limit,),
            )
        ]
    finally:
        ledger.close()


def _rate(ledger: Ledger, latest: int = 200) -> float:
    """Units done in an hour over the latest ones, leaving out pauses of more than ten minutes."""
    rows = ledger.query(
        "SELECT finished FROM units INDEXED BY units_by_end WHERE finished IS NOT NULL AND state='done'"
        " ORDER BY finished DESC LIMIT ?",
        (latest,),
    )
    times = [float(row[0]) for row in rows]
    gaps = [later - earlier for later, earlier in pairwise(times) if 0 <= later - earlier < 600]
    worked = sum(gaps)
    if not worked or time.time() < times[-1]:
        return 0.0
    return 3600 * len(gaps) / worked


def mean_seconds(ledger: Ledger, latest: int = 200) -> dict[str, float]:
    """Mean seconds a unit by stage, over the latest ones."""
    totals: dict[str, list[float]] = defaultdict(list)
    rows = ledger.query(
        "SELECT seconds FROM units INDEXED BY units_by_end WHERE finished IS NOT NULL AND state='done'"
        " ORDER BY finished DESC LIMIT ?",
        (latest,),
    )
    for (text,) in rows:
        for stage, seconds in json.loads(text or "{}").items():
            totals[stage].append(seconds)
    return {stage: sum(values) / len(values) for stage, values in totals.items()}
