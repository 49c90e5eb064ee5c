"""Plates in work: sampled frames come first, the illumination is fitted, then the units flow."""

from __future__ import annotations

from collections import deque
from dataclasses import astuple, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from phenostream.errors import EmptyError, NotFoundError
from phenostream.stream import steps
from phenostream.stream.folder import publish
from phenostream.stream.interrupts import whole
from phenostream.stream.jobs import Job, place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future
    from pathlib import Path

    from phenostream.errors import PhenostreamError
    from phenostream.stream.journal import Journal
    from phenostream.stream.ledger import Ledger
    from phenostream.stream.plan import Plan, Unit
    from phenostream.stream.recipe import Recipe

    Name = tuple[str, str]

_AT_ONCE = 2


@dataclass(slots=True)
class _Plate:
    """One plate: samples to come, then the fits, then its units.

    Attributes:
        units: positions in the plan of those that are still to be started.
        both: keys of the units whose fields are samples, too.
    """

    units: deque[int]
    samples: deque[Job] = field(default_factory=deque)
    outstanding: int = 0
    shrunk: dict[tuple[Any, ...], tuple[tuple[str, ...], steps.Shrunk]] = field(default_factory=dict)
    fits: dict[str, str] = field(default_factory=dict)
    unfitted: set[str] = field(default_factory=set)
    both: set[str] = field(default_factory=set)
    ready: bool = False
    trouble: PhenostreamError | None = None


class Plates:
    """Gives the next field to fetch, and brings each plate from its samples over its fits to its units."""

    def __init__(  # noqa: PLR0913  (it is where the rooms of a run meet)
        self,
        plan: Plan,
        recipe: Recipe,
        *,
        folder: Path,
        ledger: Ledger,
        journal: Journal,
        submit: Callable[..., Future[Any]],
        reject: Callable[[Unit, PhenostreamError], None],
        deposit: Callable[[bytes, str, str], object] | None = None,
    ) -> None:
        """`submit` starts a fit in the executor; `reject` ends a unit whose plate cannot go on.

        `deposit` stores a model where other machines find it, before the ledger names it.
        """
        self._plan = plan
        self._recipe = recipe
        self._folder = folder
        self._ledger = ledger
        self._journal = journal
        self._submit = submit
        self._reject = reject
        self._deposit = deposit
        self._steps = recipe.canonical_steps()
        self._queue: deque[tuple[Name, list[int]]] = deque()
        self._active: dict[Name, _Plate] = {}
        self.fitting: dict[Future[Any], tuple[Name, str, int]] = {}

    def enqueue(self, positions: Iterable[int]) -> None:
        """Line up units by their positions in the plan, by plate, plates in the order of their first unit."""
        self._queue.extend(self._plan.units.by_plate(positions).items())

    def next_job(self, busy: Callable[[Name], bool]) -> Job | None:
        """The next field to fetch, None where every plate in work waits; `busy` tells plates with jobs in flight."""
        while True:
            for name, plate in list(self._active.items()):
                if plate.ready and (job := self._next_unit(name, plate)):
                    return job
                if not plate.ready and plate.samples:
                    plate.outstanding += 1
                    return plate.samples.popleft()
                if plate.ready and not busy(name):
                    del self._active[name]
            if len(self._active) >= _AT_ONCE or not self._queue:
                return None
            self._open(*self._queue.popleft())

    @property
    def unfinished(self) -> bool:
        """Whether any plate still has something to start."""
        return bool(self._queue) or any(not plate.ready or plate.units for plate in self._active.values())

    def is_unit(self, job: Job) -> bool:
        """Whether the field of a sample is also a unit still to come."""
        return job.name in self._active[job.plate].both

    def models(self, name: Name) -> dict[str, str]:
        """Path of the illumination model of each channel of a plate, relative to the run folder."""
        return self._active[name].fits

    def _next_unit(self, name: Name, plate: _Plate) -> Job | None:
        """The next unit of a plate; those that the catalog could not place are rejected on the way."""
        while plate.units:
            unit = self._plan.units[plate.units.popleft()]
            plate.both.discard(unit.key)
            if not unit.problem:
                return Job(unit.key, unit.field, name, unit)
            self._reject(unit, _unplaced(unit))
        return None

    def _open(self, name: Name, positions: list[int]) -> None:
        plate = _Plate(deque(positions))
        self._active[name] = plate
        sample = self._plan.samples.get(name, ())
        if self._recipe.correct.method != "basic":
            plate.ready = True
        elif not sample:
            self._give_up(plate, _no_frames())
        elif not self._recall(name, plate, {channel.name for one in sample for channel in one.channels}):
            sampled = {one.id for one in sample}
            units = self._plan.units.at(positions)
            keys = {unit.field.id: unit.key for unit in units if unit.field.id in sampled}
            plate.both.update(keys.values())
            names = [keys.get(one.id, f"{position}-{self._key(name)}") for position, one in enumerate(sample)]
            plate.samples.extend(Job(key, one, name) for key, one in zip(names, sample, strict=True))

    def _recall(self, name: Name, plate: _Plate, channels: set[str]) -> bool:
        """Take the fits of an earlier start of this run, where all are there."""
        found = {one: self._ledger.fit(f"{self._key(name)}-{one}") for one in channels}
        if all(found.values()):
            plate.fits, plate.ready = found, True
        return plate.ready

    def _key(self, name: Name) -> str:
        return self._plan.fits.get(name, "")

    def sampled(self, job: Job, result: steps.Shrunk | PhenostreamError) -> None:
        """Take a sample's shrunk pixels, or why there are none."""
        plate = self._active[job.plate]
        plate.outstanding -= 1
        if isinstance(result, steps.Shrunk):
            # By what the field is, not by the job: the stack's order must not depend on which units are still to do.
            plate.shrunk[astuple(job.field.id)] = tuple(channel.name for channel in job.field.channels), result
        elif result.transient:
            plate.trouble = plate.trouble or result
        else:
            self._journal.note("sample-skipped", f"not used for illumination: {result}", place=result.place)
        if plate.samples or plate.outstanding:
            return
        plate.unfitted = {channel for channels, _ in plate.shrunk.values() for channel in channels}
        if plate.trouble or not plate.unfitted:
            self._give_up(plate, plate.trouble or _no_frames())
        for channel in sorted(plate.unfitted):
            self._start_fit(job.plate, channel)

    def _start_fit(self, name: Name, channel: str) -> None:
        shrunk = self._active[name].shrunk
        having = [(names, one) for _, (names, one) in sorted(shrunk.items()) if channel in names]
        shape = having[0][1].shape
        planes = np.stack([one.planes[names.index(channel)] for names, one in having if one.shape == shape])
        self.fitting[self._submit(steps.fit, planes, shape, self._steps)] = name, channel, len(planes)

    def restart_fits(self) -> None:
        """Start again the fits whose worker died."""
        lost = list(self.fitting.values())
        self.fitting.clear()
        for name, channel, _ in lost:
            self._start_fit(name, channel)

    def fitted(self, future: Future[Any]) -> None:
        """Make a finished fit durable; with the last one the plate's units may flow.

        Raises:
            BrokenProcessPool: the worker died; call :meth:`restart_fits`.
        """
        name, channel, frames = self.fitting[future]
        plate = self._active[name]
        error = future.exception()
        if error is not None and not hasattr(error, "reason"):
            raise error
        del self.fitting[future]
        plate.unfitted.discard(channel)
        if error is not None:
            plate.trouble = error  # type: ignore[assignment]
        else:
            if self._deposit:  # outside of what must be whole: a network may be slow
                self._deposit(future.result(), "illumination", ".npz")
            with whole():
                self._publish(name, channel, future.result(), frames)
        if not plate.unfitted:
            plate.shrunk.clear()
            plate.ready = True
            if plate.trouble:
                self._give_up(plate, plate.trouble)

    def _publish(self, name: Name, channel: str, payload: bytes, frames: int) -> None:
        path, sha256 = publish(self._folder, payload, "illumination", ".npz")
        self._ledger.record_fit(
            f"{self._key(name)}-{channel}", plate=name[1], channel=channel, path=path, sha256=sha256, frames=frames
        )
        self._active[name].fits[channel] = path
        self._journal.note(
            "fitted", f"fitted illumination of plate {name[1]} {channel} from {frames} frames", path=path
        )

    def _give_up(self, plate: _Plate, error: PhenostreamError) -> None:
        """Without a model no unit of the plate can go on."""
        for unit in self._plan.units.at(plate.units):
            self._reject(unit, _unplaced(unit) if unit.problem else error)
        plate.units.clear()
        plate.unfitted.clear()
        plate.ready = True


def _unplaced(unit: Unit) -> PhenostreamError:
    error = NotFoundError(unit.problem, remedy="check the catalog's tables")
    return error.at(step="plan", **place(unit.field))


def _no_frames() -> PhenostreamError:
    return EmptyError(
        "no frame of this plate can be read to fit its illumination",
        remedy="see run.log for why, or set correct.method",
    ).at(step="fit")
