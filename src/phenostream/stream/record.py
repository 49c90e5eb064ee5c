"""How units end: parts made durable, outcomes made visible in batches, every rejection journalled."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phenostream.errors import OverBudgetError, StepError
from phenostream.stream import errands
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
    from phenostream.stream.depot import RunDepot
    from phenostream.stream.fetch import Bundle
    from phenostream.stream.journal import Journal
    from phenostream.stream.ledger import Ledger
    from phenostream.stream.plan import Unit
    from phenostream.stream.steps import Product

_FLUSH_SECONDS = 2.0
_AT_ONCE = 4


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


@dataclass(frozen=True, slots=True)
class _Sent:
    """A part on its way to the depot."""

    unit: Unit
    product: Product
    origin: Bundle | Origin
    lease: Lease


class Recorder:
    """Takes finished and failed units, and makes them durable within the budget.

    Attributes:
        sending: parts on their way to the depot; each is given to :meth:`sent` once it has arrived.
    """

    def __init__(  # noqa: PLR0913  (it is where the rooms of a run meet)
        self,
        folder: Path,
        ledger: Ledger,
        journal: Journal,
        *,
        budget: Budget,
        batch_size: int,
        total: int,
        progress: Callable[[Progress], None] | None,
        depot: RunDepot | None = None,
        at_once: int = _AT_ONCE,
    ) -> None:
        """Outcomes become visible `batch_size` at a time; `progress` hears of each of the `total` units.

        Parts go into `folder`, or into `depot`, so many `at_once`.
        """
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
        self._depot = depot
        self._at_once = at_once
        self.sending: dict[Future[tuple[str, str]], _Sent] = {}
        self.cramped = False
        self._counts = ledger.counts()
        self._rows = ledger.rows()
        self._last_flush = time.monotonic()

    @property
    def blocked(self) -> bool:
        """Whether a finished part waits for room in the budget (it is `cramped`), or for its turn to be sent."""
        return bool(self._unwritten)

    def finish(self, unit: Unit, product: Product, origin: Bundle | Origin) -> None:
        """Take a finished unit; its part is written as soon as the budget has room."""
        self._unwritten.append((unit, product, origin))
        self.write()

    def write(self) -> None:
        """Write the parts that the budget has room for."""
        self.cramped = False
        while self._unwritten and len(self.sending) < self._at_once:
            unit, product, origin = self._unwritten[0]
            try:
                lease = self._budget.lease(on_disk(len(product.payload)))
            except OverBudgetError as error:
                self._unwritten.popleft()
                self.reject(unit, error.at(step="write", **place(unit.field)))
                continue
            if lease is None:
                self.cramped = True
                return
            with whole():
                self._unwritten.popleft()
                part = _Sent(unit, product, origin, lease)
                if self._depot:
                    self.sending[errands.send(self._depot.store, product.payload, "parts", ".parquet")] = part
                else:
                    self._done(part, *publish(self._folder, product.payload, "parts", ".parquet"))

    def sent(self, future: Future[tuple[str, str]]) -> None:
        """Take a part that has arrived in the depot.

        Raises:
            PhenostreamError: it could not be stored; the unit stays waiting.
        """
        part = self.sending.pop(future)
        try:
            name = future.result()
        except BaseException:
            part.lease.close()
            raise
        with whole():
            self._done(part, *name)

    def collect(self, seconds: float) -> None:
        """Take the parts that arrive within so many seconds; the others are given up, and their units stay waiting."""
        done, _ = wait(self.sending, timeout=seconds)
        for future in done:
            if future.exception() is None:
                self.sent(future)
        self.sending.clear()

    def _done(self, sent: _Sent, path: str, sha256: str) -> None:
        unit, product, origin = sent.unit, sent.product, sent.origin
        self._leases.append(sent.lease)
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
