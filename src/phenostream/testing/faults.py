"""A fault at every system call: what strace can do to a run, one call after the other.

Each run is traced twice over: alone in its main thread, where calls have one order and can be counted, and with all its
threads, where each has its own count.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from phenostream.testing.killer import Nursery, last_words
from phenostream.testing.plates import Result, faults_of, light_recipe, result_of, torn, write_plate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

_CALLS = {
    "rename": ("rename", "renameat", "renameat2"),
    "fsync": ("fsync",),
    "fdatasync": ("fdatasync",),
    "unlink": ("unlink", "unlinkat", "rmdir"),
    "write": ("write",),
    "pwrite64": ("pwrite64",),
    "ftruncate": ("ftruncate",),
    "mkdir": ("mkdir", "mkdirat"),
}
_STRACE = shutil.which("strace") or ""
_ENDED_WELL = (0, 5)


@dataclass(frozen=True, slots=True)
class Injection:
    """One fault: at the `nth` call of a kind the process is killed, or the call fails (from then on where `onwards`).

    Attributes:
        call: a key of the table of calls: ``rename``, ``fsync``, ``write`` ...
        action: ``KILL``, ``ENOSPC`` or ``EIO``.
        threads: every thread is traced, and counts for itself.
    """

    call: str
    nth: int
    action: str
    onwards: bool = False
    threads: bool = False

    def options(self) -> list[str]:
        """What strace is told."""
        calls = ",".join(f"?{name}" for name in _CALLS[self.call])
        what = "signal=KILL" if self.action == "KILL" else f"error={self.action}"
        when = f"{self.nth}+" if self.onwards else f"{self.nth}"
        return [*(["-f"] if self.threads else []), "-e", f"inject={calls}:{what}:when={when}"]

    def __str__(self) -> str:
        where = " in any thread" if self.threads else ""
        return f"{self.action} at {self.call} {self.nth}{'+' if self.onwards else ''}{where}"


@dataclass(slots=True)
class Damage:
    """What a series of injections has done.

    Attributes:
        hits: injections that met their call, by action.
        missed: those whose call did not come so often.
        paused: runs that ended with the exit code for a disk that takes no more.
        faults: everything that was wrong; empty is the promise.
    """

    hits: Counter[str] = field(default_factory=Counter)
    missed: int = 0
    paused: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


def why_not() -> str:
    """Why strace cannot be used here; empty where it can."""
    if not _STRACE:
        return "strace is not installed: apt-get install strace"
    # It attaches to runs, which are no children of its own: that is what ptrace_scope=1 forbids.
    with subprocess.Popen(["sleep", "600"]) as sleeper:  # noqa: S607
        try:
            refused = _refusal(sleeper.pid)
        finally:
            sleeper.kill()
    return refused and f"strace may not trace here: {refused}"


def _refusal(pid: int) -> str:
    """What strace says where it may not attach to a process and inject faults; empty where it may."""
    command = [_STRACE, "-e", "inject=getppid:error=EIO", "-p", str(pid)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as tracer:  # noqa: S603
        clock = threading.Timer(60, tracer.kill)
        clock.start()
        told = tracer.stderr.readline().strip() if tracer.stderr else ""
        clock.cancel()
        tracer.terminate()
    return "" if told.endswith("attached") else told[:200] or "it says nothing"


class Injector:
    """A tiny plate, its unbroken result, and runs on it with one fault each."""

    def __init__(self, nursery: Nursery, work: Path, *, units: int = 3, **steps: Any) -> None:
        """Prepare in `work`; `steps` override the recipe's."""
        self._nursery = nursery
        self._work = work
        self._units = units
        self._recipe = light_recipe(write_plate(work / "images", units), batch_size=2) | steps
        self.damage = Damage()
        self._tried = 0
        out = work / "reference"
        self.counts = self._count(out)
        self._reference: Result = result_of(out)
        if wrong := faults_of(out, self._reference, units):
            raise RuntimeError(f"the unbroken run is not sound: {wrong}")

    def _count(self, out: Path) -> Counter[str]:
        """How often the main thread of an unbroken run makes each kind of call."""
        names = ",".join(f"?{name}" for kind in _CALLS.values() for name in kind)
        log, code = self._traced(["-e", f"trace={names}"], out)
        if code:
            raise RuntimeError(f"the unbroken run failed: {code}, {last_words(out)}")
        kinds = {name: kind for kind, names in _CALLS.items() for name in names}
        return Counter(kinds[told[1]] for told in map(re.compile(r"(\w+)\(").match, log) if told)

    def points(self, call: str, action: str, *, step: int = 1, onwards: bool = False) -> Iterator[Injection]:
        """One injection for every `step`-th call of a kind that the main thread makes."""
        for nth in range(1, self.counts[call] + 1, step):
            yield Injection(call, nth, action, onwards)

    def inject(self, injections: Iterable[Injection]) -> Damage:
        """Try each on a fresh folder: run with the fault, look, run again, compare."""
        start = time.monotonic()
        for one in injections:
            self._try(one)
        self.damage.seconds += time.monotonic() - start
        return self.damage

    def _try(self, injection: Injection) -> None:
        self._tried += 1
        out = self._work / f"injected-{self._tried}"
        log, code = self._traced(injection.options(), out)
        hit = any("(INJECTED)" in line for line in log) or code == -signal.SIGKILL
        self.damage.hits[injection.action] += hit
        self.damage.missed += not hit
        self.damage.paused += code == 5
        wrong = torn(out)
        if (code != -signal.SIGKILL) if injection.action == "KILL" and hit else (code not in _ENDED_WELL):
            wrong.append(f"exit code {code}: {last_words(out)}")
        again, _ = self._nursery.run(self._recipe, out)
        if again:
            wrong.append(f"the second run ended with {again}: {last_words(out)}")
        else:
            wrong += faults_of(out, self._reference, self._units)
        self.damage.faults += [f"{injection}: {fault}" for fault in wrong]
        shutil.rmtree(out)

    def _traced(self, options: list[str], out: Path) -> tuple[list[str], int]:
        child = self._nursery.start(self._recipe, out, traced=True)
        log = self._work / "strace.log"
        log.unlink(missing_ok=True)
        command = [_STRACE, "-q", *options, "-o", str(log), "-p", str(child)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as tracer:  # noqa: S603
            code = self._nursery.end()
            tracer.wait(timeout=120)
        return log.read_text(errors="replace").splitlines() if log.is_file() else [], code


def campaign(work: Path, *, thorough: bool = False, steps: Mapping[str, Any] | None = None) -> Damage:
    """The whole list: every rename, fsync, fdatasync and mkdir, samples of the rest; everything where `thorough`."""
    some, few, rare = (1, 1, 1) if thorough else (6, 8, 12)
    with Nursery() as nursery:
        injector = Injector(nursery, work, **(steps or {}))
        plan: list[Injection] = []
        for call in ("rename", "fsync", "fdatasync", "mkdir"):
            plan += injector.points(call, "KILL")
        plan += injector.points("unlink", "KILL", step=some)
        plan += injector.points("pwrite64", "KILL", step=some)
        plan += injector.points("write", "KILL", step=rare)
        for call, step in (
            ("write", rare),
            ("pwrite64", few),
            ("fsync", few),
            ("fdatasync", few),
            ("mkdir", few),
            ("rename", few),
        ):
            plan += injector.points(call, "ENOSPC", step=step, onwards=True)
        for call, step in (
            ("write", rare),
            ("pwrite64", few),
            ("fsync", some),
            ("fdatasync", some),
            ("ftruncate", few),
        ):
            plan += injector.points(call, "EIO", step=step)
        plan += [
            Injection(call, nth, action, onwards=action == "ENOSPC", threads=True)
            for call in ("write", "rename", "mkdir")
            for nth in (1, 2, 3)
            for action in ("KILL", "ENOSPC", "EIO")
        ]
        return injector.inject(plan)
