"""Run a recipe: plan, enrol, conduct, account."""

from __future__ import annotations

import json
import os
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from phenostream import sources
from phenostream.errors import DiskFullError, LedgerError, RecipeError
from phenostream.sources import catalogs
from phenostream.stream import steps
from phenostream.stream.claims import SharedBudget, place_for
from phenostream.stream.conductor import Conductor
from phenostream.stream.depot import open_run_depot, refuse_moved
from phenostream.stream.executor import Executor, Processes
from phenostream.stream.fetch import CancelledFetchError
from phenostream.stream.folder import explain, locked, network_of, open_folder, sweep, write_text
from phenostream.stream.interrupts import handled
from phenostream.stream.journal import Journal
from phenostream.stream.ledger import Ledger
from phenostream.stream.plan import Plan, fingerprint_of, make_plan
from phenostream.stream.provenance import provenance
from phenostream.stream.recipe import Recipe, digest
from phenostream.stream.record import Progress, Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from phenostream.values import Store


_GRACE = 1.0


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended. ``inputs == done + rejected + failed + waiting``, and `waiting` is 0 unless it was stopped."""

    folder: Path
    inputs: int
    done: int
    rejected: int
    failed: int
    waiting: int
    rows: int
    seconds: float
    peak_disk: int
    interrupted: bool = False


def run(
    recipe: Recipe | Mapping[str, Any] | str | Path,
    out: str | Path | None = None,
    *,
    overrides: Iterable[str] = (),
    retry: tuple[str, ...] = ("failed",),
    progress: Callable[[Progress], None] | None = None,
    executor: Executor | None = None,
) -> RunResult:
    """Do what `recipe` says, into the run folder `out`; called again, do only what is left.

    Args:
        recipe: a YAML file, a mapping, or a Recipe.
        out: the run folder; by default the recipe's file name with ``-run``, in the working directory.
        overrides: settings as ``step.key=value``.
        retry: states whose units are tried again (``failed``, ``rejected``).
        progress: called after each settled unit.
        executor: where to compute; by default processes on this machine.

    Raises:
        RecipeError: the recipe or a table that it names is wrong.
        BusyError: another process works in `out`.
        LedgerError: `out` belongs to another recipe or to a newer version.
        DiskFullError: the disk is full; nothing is lost, run again when there is room.
    """
    resolved = Recipe.load(recipe, overrides)
    folder = open_folder(Path(out) if out is not None else default_folder(recipe))
    with (
        handled(),
        locked(folder),
        closing(Ledger(folder, create=True)) as ledger,
        closing(Journal(folder)) as journal,
        _budget_of(resolved, folder) as budget,
    ):
        explain(folder)
        _warn_of_network(folder, journal)
        return _run(resolved, folder, ledger, journal, budget, retry=retry, progress=progress, executor=executor)


@contextmanager
def _budget_of(recipe: Recipe, folder: Path) -> Iterator[SharedBudget]:
    """The disk budget of this run; whoever joins it shares it with the other runs of its place."""
    place = place_for(folder / "spool", recipe.stream.budget_folder)
    home = folder.resolve()
    budget = SharedBudget(
        int(recipe.stream.disk_budget), place, name=digest([str(home)]), scratch=home / "spool", folder=home
    )
    try:
        yield budget
    finally:
        budget.leave()


def _join(budget: SharedBudget, journal: Journal, *, named: bool) -> None:
    """Share the budget; without a place that the recipe names, a machine that has no room for claims is no hindrance.

    Only now that the spool is swept: what was left there would count for nothing.
    """
    try:
        budget.join()
    except DiskFullError as error:
        if named:
            raise
        journal.note("not-shared", f"the disk budget is this run's alone: {error}")


def _warn_of_network(folder: Path, journal: Journal) -> None:
    if kind := network_of(folder):
        journal.note(
            "network-disk",
            f"the run folder lies on a network file system ({kind}): its ledger belongs on a local disk, and no other"
            " machine may look at it while a run goes on; output.parts puts parts onto shared storage",
        )


def default_folder(recipe: Recipe | Mapping[str, Any] | str | Path) -> Path:
    """Where a run goes when nobody says."""
    return Path(f"{Path(recipe).stem}-run" if isinstance(recipe, str | Path) else "phenostream-run")


def store_of(recipe: Recipe, stop: Event | None = None) -> Store:
    """The store that a recipe's catalog reads from; once `stop` is set, no wait between tries goes on."""

    def sleep(seconds: float) -> None:
        if stop is None:
            time.sleep(seconds)
        elif stop.wait(seconds):
            raise CancelledFetchError

    return sources.open_store(catalogs.base(recipe.source), options=recipe.transport, sleep=sleep)


def _run(  # noqa: PLR0913  (it is where the rooms of a run meet)
    recipe: Recipe,
    folder: Path,
    ledger: Ledger,
    journal: Journal,
    budget: SharedBudget,
    *,
    retry: tuple[str, ...],
    progress: Callable[[Progress], None] | None,
    executor: Executor | None,
) -> RunResult:
    started = time.monotonic()
    _check_recipe(recipe, folder, ledger)
    stop = Event()
    store = store_of(recipe, stop)
    depot = open_run_depot(recipe.output, folder, journal=journal, budget=budget)
    if depot is None:
        refuse_moved(ledger, folder)
    plan, anew = _planned(recipe, store, folder, ledger)
    if retry:
        ledger.retry(retry)
    if freed := sweep(folder, ledger.named_files):
        journal.note("swept", f"swept {freed:,} bytes that nothing names", bytes=freed)
    _join(budget, journal, named=bool(recipe.stream.budget_folder))
    waiting = ledger.to_do()
    if depot:
        depot.begin(ledger, work=bool(waiting))
    journal.note("planned", f"planned {len(plan.units):,} units", units=len(plan.units), anew=anew)
    interrupted = False
    recorder = Recorder(
        folder, ledger, journal,
        budget=budget, batch_size=recipe.stream.batch_size, total=len(plan.units), progress=progress,
        depot=depot, at_once=recipe.stream.fetchers,
    )  # fmt: skip
    if waiting:
        conductor = Conductor(
            plan, recipe, store,
            folder=folder, ledger=ledger, journal=journal, budget=budget, recorder=recorder, stop=stop, depot=depot,
            executor=executor or Processes(workers_of(recipe)),
        )  # fmt: skip
        interrupted = conductor.conduct(waiting)
        if conductor.refetched:
            ledger.put(refetched=str(int(ledger.get("refetched", "0")) + conductor.refetched))
    seconds = time.monotonic() - started
    _remember(ledger, store, seconds, budget.peak)
    if depot:
        depot.end(ledger, grace=_GRACE if interrupted else None)
    return _account(plan, folder, ledger, journal, seconds=seconds, peak=budget.peak, interrupted=interrupted)


def workers_of(recipe: Recipe) -> int:
    """How many processes there may be: as asked for, or one a core as far as the memory lasts."""
    asked, memory = recipe.stream.workers, int(recipe.stream.memory)
    if memory // steps.WORKER_BYTES < max(asked, 1):
        raise RecipeError(
            f"stream.memory of {memory:,} bytes is too little for {max(asked, 1)} workers",
            remedy=f"a worker takes {steps.WORKER_BYTES:,} bytes before its first pixel",
        )
    return asked or min(os.cpu_count() or 1, max(1, memory // steps.worker_bytes(recipe.canonical_steps())))


def _check_recipe(recipe: Recipe, folder: Path, ledger: Ledger) -> None:
    known = ledger.get("recipe_hash")
    if known and known != recipe.digest():
        raise LedgerError(
            f"{folder} holds a run of another recipe: its correct, segment, measure or output steps differ",
            remedy="choose another --out, or bring the recipe back to what its run.json says",
        )


def _planned(recipe: Recipe, store: Store, folder: Path, ledger: Ledger) -> tuple[Plan, int]:
    """The plan, and how many of its units are computed anew; what it came from stands in run.json.

    A plan that nothing has changed since is taken from the ledger, where its units are enrolled.
    """
    origin = provenance(recipe)
    fingerprint = fingerprint_of(recipe, origin["inputs"])
    kept = ledger.kept_plan(fingerprint)
    plan = Plan.load(kept) if kept else make_plan(recipe, store)
    anew = 0
    # Whoever finds the recipe in the ledger finds it in run.json; what is refused is in neither.
    with ledger.transaction():
        if not kept:
            anew = _enrol(plan, recipe, ledger, fingerprint)
        ledger.put(disk_budget=str(int(recipe.stream.disk_budget)))
        write_text(folder / "run.json", json.dumps(origin, indent=2, sort_keys=True) + "\n")
    return plan, anew


def _enrol(plan: Plan, recipe: Recipe, ledger: Ledger, fingerprint: str) -> int:
    """Write the plan into the ledger; how many units are computed anew."""
    anew = ledger.enrol(plan.units.rows())
    ledger.keep_plan(fingerprint, plan.dump())
    ledger.put(recipe_hash=recipe.digest(), inputs=str(len(plan.units)))
    if anew:
        ledger.put(depot_clean="")  # parts that no unit has any more are to be swept from there
    return anew


def _remember(ledger: Ledger, store: Store, seconds: float, peak: int) -> None:
    traffic = getattr(store, "traffic", None)
    with ledger.transaction():
        ledger.put(
            last_seconds=f"{seconds:.3f}",
            seconds=f"{float(ledger.get('seconds', '0')) + seconds:.3f}",
            peak_disk=str(max(peak, int(ledger.get("peak_disk", "0")))),
            bytes_moved=str(int(ledger.get("bytes_moved", "0")) + (traffic.bytes if traffic else 0)),
            starts=str(int(ledger.get("starts", "0")) + 1),
        )


def _account(
    plan: Plan, folder: Path, ledger: Ledger, journal: Journal, *, seconds: float, peak: int, interrupted: bool
) -> RunResult:
    """Every input is done, rejected or failed; only an interrupted run leaves some waiting."""
    counts = ledger.counts()
    rows = ledger.rows()
    inputs = len(plan.units)
    done, rejected, failed, waiting = (counts.get(state, 0) for state in ("done", "rejected", "failed", "waiting"))
    if done + rejected + failed + waiting != inputs or (waiting and not interrupted):
        raise LedgerError(f"{inputs} inputs, but {counts} accounted for")
    text = f"{inputs:,} inputs = {done:,} done + {rejected:,} rejected + {failed:,} failed"
    journal.note(
        "ended", text + (f" + {waiting:,} waiting" if waiting else ""), seconds=round(seconds, 3), peak_disk=peak
    )
    return RunResult(folder, inputs, done, rejected, failed, waiting, rows, seconds, peak, interrupted)
