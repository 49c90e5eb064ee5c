"""How units end: parts made durable, outcomes made visible in batches, every rejection journalled."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phenostream.errors import OverBudgetError, StepError
from phenostream.stream.budget import on_disk
from phenostream.stream.folder import publish
from phenostream.stream.interrupts import whole
from phenostream.stream.jobs import place
from phenostream.stream.ledger import Outcome, Part

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from phenostream.errors import PhenostreamError
    from phenostream.stream.afar import Origin
    from phenostream.stream.budget import Budget, Lease
    from phenostream.stream.fetch import Bundle
    from phenostream.stream.journal import Journal
    from phenostream.stream.ledger import Ledger
    from phenostream.stream.plan import Unit
    from phenostream.stream.steps import Product

_FLUSH_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands, for a progress bar."""

    total: int
    done: int
    rejected: int
    failed: int
    rows: int
    disk: int
    disk_budget: int


class Recorder:
    """Takes finished and failed units, and makes them durable within the budget."""

    def __init__(
        self,
        folder: Path,
        ledger: Ledger,
        journal: Journal,
        *,
        budget: Budget,
        batch_size: int,
        total: int,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        """Outcomes become visible `batch_size` at a time; `progress` hears of each of the `total` units."""
        self._folder = folder
        self._ledger = ledger
        self._journal = journal
        self._budget = budget
        self._batch_size = batch_size
        self._total = total
        self._progress = progress
        self._unwritten: deque[tuple[Unit, Product, Bundle | Origin]] = deque()
        self._settled: list[Outcome] = []
        self._leases: list[Lease] = []
        self._counts = ledger.counts()
        self._rows = sum(rows for *_, rows in ledger.tally())
        self._last_flush = time.monotonic()

    @property
    def blocked(self) -> bool:
        """Whether a finished part waits for room in the budget."""
        return bool(self._unwritten)

    def finish(self, unit: Unit, product: Product, origin: Bundle | Origin) -> None:
        """Take a finished unit; its part is written as soon as the budget has room."""
        self._unwritten.append((unit, product, origin))
        self.write()

    def write(self) -> None:
        """Write the parts that the budget has room for."""
        while self._unwritten:
            unit, product, origin = self._unwritten[0]
            try:
                lease = self._budget.lease(on_disk(len(product.payload)))
            except OverBudgetError as error:
                self._unwritten.popleft()
                self.reject(unit, error.at(step="write", **place(unit.field)))
                continue
            if lease is None:
                return
            with whole():
                self._unwritten.popleft()
                self._leases.append(lease)
                self._publish(unit, product, origin)

    def _publish(self, unit: Unit, product: Product, origin: Bundle | Origin) -> None:
        path, sha256 = publish(self._folder, product.payload, "parts", ".parquet")
        part = Part(path, sha256, len(product.payload), product.rows)
        seconds = {"fetch": origin.seconds, **product.seconds}
        self._rows += product.rows
        self._settle(Outcome(unit.key, "done", part, source=origin.digest, qc=product.qc, seconds=seconds))

    def reject(self, unit: Unit, error: PhenostreamError) -> None:
        """Reject an input (its own fault), or fail it (a retry may help), with reason, step, place and remedy."""
        state = "failed" if error.transient or isinstance(error, StepError) else "rejected"
        outcome = Outcome(
            unit.key, state, reason=error.reason, step=_step(error), message=error.message, remedy=error.remedy
        )
        self._journal.note(
            state,
            f"{state} {unit.field.id}: {error.message} [{error.reason}, {outcome.error_id}]",
            id=outcome.error_id,
            reason=error.reason,
            step=outcome.step,
            place=error.place,
            remedy=error.remedy,
            cause=repr(error.__cause__) if error.__cause__ else "",
        )
        self._settle(outcome)

    def _settle(self, outcome: Outcome) -> None:
        self._settled.append(outcome)
        self._counts[outcome.state] += 1
        if self._progress:
            self._progress(
                Progress(
                    self._total,
                    self._counts["done"],
                    self._counts["rejected"],
                    self._counts["failed"],
                    self._rows,
                    self._budget.used,
                    self._budget.total,
                )
            )

    def flush_when_due(self) -> None:
        """Make a full or an old batch visible."""
        old = time.monotonic() - self._last_flush > _FLUSH_SECONDS
        if len(self._settled) >= self._batch_size or (self._settled and old):
            self.flush()

    def flush(self) -> None:
        """One transaction makes the batch visible; then the leases of its parts end."""
        with whole():
            if self._settled:
                self._ledger.record(self._settled)
                self._settled.clear()
            for lease in self._leases:
                lease.close()
            self._leases.clear()
        self._last_flush = time.monotonic()


def _step(error: PhenostreamError) -> str:
    """The innermost step that the error's notes name."""
    words = error.place.replace(";", ",").split(",")
    return next((word.strip().removeprefix("step ") for word in words if word.strip().startswith("step ")), "")
