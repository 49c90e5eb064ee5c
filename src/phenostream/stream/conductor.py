"""The conductor: fetch runs ahead of compute, inside the disk budget, and every job is settled.

One thread decides. Transfers run in threads, work in the executor; both give futures, settled one by one.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from phenostream import objects
from phenostream.errors import (
    ClusterError,
    DamagedError,
    DiskFullError,
    OverBudgetError,
    PhenostreamError,
    StepError,
    UnsettledError,
)
from phenostream.sources import LocalStore
from phenostream.stream import errands, steps
from phenostream.stream.afar import Delivery
from phenostream.stream.budget import LeaseTooSmallError
from phenostream.stream.executor import FarExecutor
from phenostream.stream.fetch import Bundle, CancelledFetchError, Fetcher
from phenostream.stream.folder import clear_spool
from phenostream.stream.jobs import Job, place
from phenostream.stream.plates import Plates

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from threading import Event

    from phenostream.stream.budget import Budget, Lease
    from phenostream.stream.depot import RunDepot
    from phenostream.stream.executor import Executor
    from phenostream.stream.journal import Journal
    from phenostream.stream.ledger import Ledger
    from phenostream.stream.plan import Plan
    from phenostream.stream.recipe import Recipe
    from phenostream.stream.record import Recorder
    from phenostream.values import Store

_FIRST_LEASE = 4 * 1024 * 1024
_DEATHS_ALLOWED = 2
_GRACE = 2.0
_PAUSE = 0.05


class Conductor:
    """Brings units from the archive to their outcomes."""

    def __init__(  # noqa: PLR0913  (it is where the rooms of a run meet)
        self,
        plan: Plan,
        recipe: Recipe,
        store: Store,
        *,
        folder: Path,
        ledger: Ledger,
        journal: Journal,
        budget: Budget,
        recorder: Recorder,
        executor: Executor,
        stop: Event,
        depot: RunDepot | None = None,
    ) -> None:
        """Ready to conduct; at the end the executor is closed, and `stop` is set for all that waits in the network."""
        self._stream = recipe.stream
        self._steps = recipe.canonical_steps()
        self._folder = folder
        self._journal = journal
        self._budget = budget
        self._recorder = recorder
        self._executor = executor
        self._stop = stop
        self._store = store
        self._depot = depot
        self._far = isinstance(executor, FarExecutor)
        if isinstance(executor, FarExecutor):
            executor.begin(recipe, store, folder)
        self._remote = not self._far and not isinstance(store, LocalStore)
        self.refetched = 0
        self._fetcher = Fetcher(
            store, folder / "spool",
            segmenter=objects.build(recipe.segment), window=recipe.correct.method == "idrstream", stop=self._stop,
        )  # fmt: skip
        self._plates = Plates(
            plan, recipe,
            folder=folder, ledger=ledger, journal=journal, submit=executor.submit, reject=recorder.reject,
            deposit=depot.deposit if depot else None,
        )  # fmt: skip
        self._transfers: dict[Future[Bundle], Job] = {}
        self._work: dict[Future[Any], Job] = {}
        self._fetched: deque[Job] = deque()
        self._again: deque[Job] = deque()
        self._kept: dict[str, Bundle] = {}
        self._suspects: set[Job] = set()
        self._largest = 0
        self._has_waited = False

    def conduct(self, positions: Iterable[int]) -> bool:
        """Bring the units at these positions of the plan to their outcomes.

        Returns:
            Whether Ctrl-C ended it early; what is done is kept.

        Raises:
            DiskFullError: no room; units in work stay waiting.
        """
        try:
            self._plates.enqueue(positions)
            self._loop()
            self._end(kill=False)
        except KeyboardInterrupt:
            self._end(kill=True)
            self._journal.note("interrupted", "interrupted: units in work are given up, what is done is kept")
            return True
        except BaseException as error:
            with suppress(DiskFullError):
                self._journal.note("stopped", f"stopped: {error}", error=type(error).__name__)
            self._end(kill=True)
            raise
        return False

    def _end(self, *, kill: bool) -> None:
        """Stop transfers and workers, leave the spool empty, make visible what is finished.

        Transfers that write end within the grace; one that a silent server holds is left behind: it will find that the
        run has stopped before it touches the disk. The spool goes first, since the ledger may need its room.
        """
        self._stop.set()
        if self._depot and kill:
            self._depot.halt()
        self._executor.close(kill=kill)
        under_way: set[Future[Any]] = {*self._transfers, *self._recorder.sending}
        wait(under_way, timeout=_GRACE)
        self._recorder.collect(0)
        try:
            clear_spool(self._folder)
        finally:
            self._recorder.flush()

    def _loop(self) -> None:
        while True:
            self._recorder.write()
            self._make_room_for_parts()
            self._launch_transfers()
            self._launch_work()
            flying = {*self._transfers, *self._work, *self._plates.fitting, *self._recorder.sending}
            if flying:
                finished, _ = wait(flying, timeout=0.25, return_when=FIRST_COMPLETED)
                for future in finished:
                    self._settle(future)
            elif self._again or self._fetched or self._recorder.blocked or self._plates.unfinished:
                self._wait_for_others()
            else:
                break
            self._recorder.flush_when_due()
            if self._depot:
                self._depot.tick()

    # ---- starting ----------------------------------------------------------------------------------------------------

    def _launch_transfers(self) -> None:
        """Start transfers while there are slots, room ahead of compute, and budget; never before a finished part."""
        most = 3 * self._executor.workers + 2
        while not self._recorder.blocked and len(self._transfers) < self._stream.fetchers and self._in_hand() < most:
            job = self._again.popleft() if self._again else self._plates.next_job(self._is_busy)
            if job is None:
                return
            if not self._start(job):
                self._again.appendleft(job)
                return

    def _in_hand(self) -> int:
        return len(self._transfers) + len(self._fetched) + len(self._work)

    def _is_busy(self, plate: tuple[str, str]) -> bool:
        jobs = (*self._transfers.values(), *self._work.values(), *self._fetched, *self._again)
        return any(job.plate == plate for job in jobs)

    def _start(self, job: Job) -> bool:
        """Start one transfer; false where the budget has no room at the moment."""
        if self._far:  # the worker fetches, within the budget of its machine
            self._fetched.append(job)
            return True
        job.bundle = self._kept.pop(job.name, None) if job.unit else None
        if job.bundle:
            self._fetched.append(job)
            return True
        wanted = job.lease or min(max(self._largest, _FIRST_LEASE), self._budget.total)
        try:
            lease = self._budget.lease(wanted)
            if lease is None and not self._in_hand():
                lease = self._lease_with_empty_hands(wanted)
        except OverBudgetError as error:
            self._give_up(job, error.at(step="fetch", **place(job.field)))
            return True
        if lease is None:
            return False
        job.lease = wanted
        self._transfers[errands.send(self._fetcher.fetch, job.spool_name, job.field, lease)] = job
        return True

    def _lease_with_empty_hands(self, wanted: int) -> Lease | None:
        """Nothing is in flight, so kept samples and unflushed parts alone hold the budget: let them go."""
        self._recorder.flush()
        while (lease := self._budget.lease(wanted)) is None and self._kept:
            self._kept.popitem()[1].discard()
        return lease

    def _wait_for_others(self) -> None:
        """Whatever holds the budget now is not this run's: say once whose it is."""
        others = self._budget.others()
        if others and not self._has_waited:
            self._has_waited = True
            told = ", ".join(map(str, others))
            self._journal.note("waits", f"waits for room in the disk budget, which is shared with {told}")
        if others:
            self._stop.wait(_PAUSE)

    def _make_room_for_parts(self) -> None:
        """A finished part outranks bytes that can be fetched again."""
        while self._recorder.cramped:
            self._recorder.flush()
            if self._kept:
                self._kept.popitem()[1].discard()
            elif self._fetched:
                job = self._fetched.pop()
                job.drop()
                self._again.appendleft(job)
            else:
                self._recorder.write()
                return
            self._recorder.write()

    def _launch_work(self) -> None:
        """Keep each worker busy with one job and one more at hand; one by one while a killer is looked for."""
        most = 1 if self._suspects else self._executor.workers + 1
        while self._fetched and len(self._work) < most:
            job = self._fetched.popleft()
            models = self._plates.models(job.plate) if job.unit else {}
            task = steps.Task(
                job.field,
                str(job.bundle.folder) if job.bundle else "",
                self._steps,
                {channel: str(self._folder / path) for channel, path in models.items()},
                int(self._stream.memory) // self._executor.workers,
            )
            self._work[self._executor.submit(steps.process if job.unit else steps.shrink, task)] = job

    # ---- settling ----------------------------------------------------------------------------------------------------

    def _settle(self, future: Future[Any]) -> None:
        if isinstance(error := future.exception(), ClusterError):
            raise error  # no unit's fault
        try:
            if future in self._transfers:
                self._settle_transfer(future, self._transfers.pop(future))
            elif future in self._work:
                self._settle_work(future, self._work[future])
            elif future in self._plates.fitting:
                self._plates.fitted(future)
            elif future in self._recorder.sending:
                self._recorder.sent(future)
        except BrokenProcessPool:
            self._bury()

    def _settle_transfer(self, future: Future[Bundle], job: Job) -> None:
        try:
            job.bundle = future.result()
        except LeaseTooSmallError as error:
            # Doubling spares many small growths; what cannot fit at all is refused with its size when it starts again.
            doubled = min(2 * job.lease, self._budget.total)
            job.lease = max(error.wanted, doubled)
            self._again.append(job)
        except DiskFullError:
            raise
        except PhenostreamError as error:
            self._give_up(job, error)
        except CancelledFetchError:
            return
        else:
            self._largest = max(self._largest, job.bundle.lease.size)
            self._fetched.append(job)

    def _settle_work(self, future: Future[Any], job: Job) -> None:
        error = future.exception()
        if error is not None and not isinstance(error, PhenostreamError):
            raise error
        del self._work[future]
        self._suspects.discard(job)
        if error is not None:
            job.drop()
            self._give_up(job, error)
            return
        result, origin = future.result(), job.bundle
        if isinstance(result, Delivery):
            self._count(result)
            result, origin = result.result, result.origin
        if job.unit is None:
            self._keep_or_drop(job)
            self._plates.sampled(job, result)
        elif origin is not None:
            job.drop()
            self._recorder.finish(job.unit, result, origin)

    def _count(self, delivery: Delivery) -> None:
        """What a far worker moved and held counts as if it had been done here."""
        self.refetched += delivery.refetched
        self._budget.peak = max(self._budget.peak, delivery.peak)
        if traffic := getattr(self._store, "traffic", None):
            traffic.add(bytes=delivery.moved)

    def _keep_or_drop(self, job: Job) -> None:
        """A sampled field that is also a unit keeps its bytes while half of the budget stays free."""
        if job.bundle and self._plates.is_unit(job) and 2 * self._budget.used <= self._budget.total:
            self._kept[job.name] = job.bundle
        else:
            job.drop()

    def _give_up(self, job: Job, error: PhenostreamError) -> None:
        if self._remote and isinstance(error, DamagedError | UnsettledError) and not job.refetched:
            self._refetch(job, error)
        elif job.unit is None:
            self._plates.sampled(job, error)
        else:
            self._recorder.reject(job.unit, error)

    def _refetch(self, job: Job, error: PhenostreamError) -> None:
        """The network may have damaged, or a mirror told otherwise, what the archive has whole: ask once more."""
        job.refetched = True
        self.refetched += 1
        self._fetcher.forget()
        self._again.append(job)
        self._journal.note("refetched", f"fetched again: {job.field.id}: {error.message}", place=error.place)

    def _bury(self) -> None:
        """A worker died: jobs in work come again one by one; the one that dies alone twice is given up."""
        lost = list(self._work.values())
        self._work.clear()
        self._executor.revive()
        for job in reversed(lost):
            job.deaths += len(lost) == 1
            self._suspects.add(job)
            if job.deaths < _DEATHS_ALLOWED:
                self._fetched.appendleft(job)
                continue
            self._suspects.discard(job)
            job.drop()
            error = StepError("the worker process died", remedy="memory? lower stream.workers, or leave the field out")
            self._give_up(job, error.at(step="compute", **place(job.field)))
        self._plates.restart_fits()
        self._journal.note("worker-died", f"a worker died; {len(lost)} jobs come again one by one", jobs=len(lost))
