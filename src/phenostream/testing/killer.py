"""A killer: runs that die of SIGKILL at random moments, a hundred in a minute.

Importing takes longer than a small run, so a nursery process imports once and forks a child for each run.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from phenostream.testing.plates import FITTED, Result, faults_of, light_recipe, result_of, torn, write_plate

if TYPE_CHECKING:
    from collections.abc import Mapping

_PATIENCE = 300.0


class Nursery:
    """Forks runs: ``with Nursery() as nursery: pid = nursery.start(recipe, out); code = nursery.end()``.

    A child computes in its own process (`Inline`) and ends with the exit code that the command line would give.
    """

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from phenostream.testing.killer import serve; serve()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip
        self._answer()
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                stream.close()
        self._process.wait(timeout=_PATIENCE)

    def start(self, recipe: Mapping[str, Any], out: Path, *, traced: bool = False) -> int:
        """Begin a run and give its pid; where `traced`, the child begins only when a tracer is attached."""
        order = {"recipe": dict(recipe), "out": str(out), "traced": traced}
        if self._process.stdin is None:
            raise RuntimeError("the nursery is closed")
        self._process.stdin.write(json.dumps(order) + "\n")
        self._child = int(self._answer())
        return self._child

    def end(self, timeout: float = _PATIENCE) -> int:
        """Exit code of the child, negative for a signal. TimeoutError, and the child is gone, where it takes longer."""
        late: list[int] = []

        def give_up() -> None:
            late.append(self._child)
            with suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGKILL)

        clock = threading.Timer(timeout, give_up)
        clock.start()
        try:
            code = int(self._answer())
        finally:
            clock.cancel()
        if late:
            raise TimeoutError(f"a run took more than {timeout} seconds")
        return code

    def run(self, recipe: Mapping[str, Any], out: Path) -> tuple[int, float]:
        """A whole run: exit code and seconds."""
        start = time.monotonic()
        self.start(recipe, out)
        return self.end(), time.monotonic() - start

    def _answer(self) -> str:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError("the nursery has died")
        return line


def serve() -> None:
    """What the nursery does: warm up, then fork a child for each line of standard input, and tell its pid and end."""
    with tempfile.TemporaryDirectory() as folder:
        _run(light_recipe(write_plate(Path(folder) / "images", 2)) | FITTED, Path(folder) / "run")
    print("ready", flush=True)  # noqa: T201  (the protocol)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            os._exit(_child(json.loads(line)))
        print(child, flush=True)  # noqa: T201
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201


def _child(order: dict[str, Any]) -> int:
    log = os.open(f"{order['out']}.err", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 2)
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    while order["traced"] and "TracerPid:\t0\n" in Path("/proc/self/status").read_text():
        time.sleep(0.001)
    return _run(order["recipe"], Path(order["out"]))


def _run(recipe: dict[str, Any], out: Path) -> int:
    from phenostream.cli import exits  # noqa: PLC0415  (a child of the nursery is its own main program)
    from phenostream.stream import Inline, run  # noqa: PLC0415

    codes: list[int] = []

    def command() -> None:
        told = run(recipe, out, executor=Inline())
        codes.append(exits.INCOMPLETE if told.rejected or told.failed else exits.OK)

    try:
        code = exits.guarded(command)
    except BaseException as error:  # noqa: BLE001  (a fork must not return into its parent's program)
        print(f"unforeseen: {error!r}", file=sys.stderr)  # noqa: T201
        return exits.UNEXPECTED
    return codes[0] if codes else code


@dataclass(slots=True)
class Toll:
    """What a series of kills has done.

    Attributes:
        kills: runs that died of SIGKILL.
        late: signals that came when the run was already over.
        finished: runs left to finish after the kills.
        faults: everything that was wrong: lost, doubled, torn, left over; empty is the promise.
    """

    kills: int = 0
    late: int = 0
    finished: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


def kill_often(work: Path, kills: int, *, seed: int = 0, units: int = 10, each: int = 3) -> Toll:
    """Kill runs at random moments, `each` in one folder before it may finish, until so many have died.

    Every finished folder is compared with one that was never killed; every fourth also fits illumination.
    """
    toll, rng, start = Toll(), random.Random(seed), time.monotonic()
    images = write_plate(work / "images", units)
    with Nursery() as nursery:
        known = {fitted: _reference(nursery, work, images, fitted=fitted, units=units) for fitted in (False, True)}
        while toll.kills < kills:
            recipe, reference, seconds = known[toll.finished % 4 == 3]
            out = work / f"killed-{toll.finished}"
            for _ in range(min(each, kills - toll.kills)):
                _kill(nursery, recipe, out, rng.uniform(0, seconds), toll)
                if rng.random() < 0.5:  # looking also recovers the log, which is the next run's to do otherwise
                    toll.faults += [f"visible after a kill: {fault}" for fault in torn(out)]
            code, _ = nursery.run(recipe, out)
            toll.finished += 1
            toll.faults += [f"exit code {code}: {last_words(out)}"] * (code != 0)
            toll.faults += faults_of(out, reference, units)
            shutil.rmtree(out)
    toll.seconds = time.monotonic() - start
    return toll


def _reference(
    nursery: Nursery, work: Path, images: Path, *, fitted: bool, units: int
) -> tuple[dict[str, Any], Result, float]:
    recipe = light_recipe(images) | (FITTED if fitted else {})
    out = work / f"reference-{'fitted' if fitted else 'plain'}"
    code, seconds = nursery.run(recipe, out)
    reference = result_of(out)
    if code or faults_of(out, reference, units):
        raise RuntimeError(f"the unbroken run is not sound: {faults_of(out, reference, units)}, {last_words(out)}")
    return recipe, reference, seconds


def _kill(nursery: Nursery, recipe: dict[str, Any], out: Path, after: float, toll: Toll) -> None:
    child = nursery.start(recipe, out)
    time.sleep(after)
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    died = nursery.end() == -signal.SIGKILL
    toll.kills += died
    toll.late += not died


def last_words(out: Path) -> str:
    """What the runs into `out` have said on standard error."""
    told = Path(f"{out}.err")
    return told.read_text()[-2000:] if told.is_file() else ""
