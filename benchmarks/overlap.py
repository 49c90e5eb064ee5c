"""Fetching beside computing, two workers beside one: what the engine makes of a link and of cores.

    python benchmarks/overlap.py link              # computing of a fixed length, links from fast to slow
    python benchmarks/overlap.py workers           # computing of a fixed length, 1 to 8 workers
    python benchmarks/overlap.py link --real       # the same with real computing: wants an otherwise idle machine
    python benchmarks/overlap.py workers --real

The bytes are real: 1344 x 1024 frames from a server, in a process of its own on the loopback interface, that sends no
more than the rate given. Computing of a fixed length (threads that sleep, then hand over a part of 200 kB) shows what
the engine adds, whatever else the machine does meanwhile; with --real, worker processes segment and measure.

`workers --real` reads a local folder. It takes turns between one and two worker processes, with the engine and without
it (each process is handed the frames one after the other, and nothing is written but the captured bytes), so that the
machine's own limit stands beside the engine's; equal parts are checked first. Processor time says what a busy machine
hides: with W seconds of a worker and C of the engine a frame, n cores allow a frame in max(W / workers, (W + C) / n).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phenostream import formats, values
from phenostream.sources import CapturingStore, catalogs, open_store
from phenostream.stream import Processes, Recipe, run, steps
from phenostream.stream.ledger import Ledger
from phenostream.stream.overview import mean_seconds
from phenostream.synthetic import Archive, Design, write_archive

SECONDS = 0.4
PART_BYTES = 200_000
LINKS = ((0.05, "20 x faster than computing"), (0.5, "2 x faster"), (1.0, "as fast"), (2.0, "2 x slower"))
PUBLISHED = 217e6 / 8
"""Bytes a second that were observed from the archive: 190 to 244 Mbit/s."""

_SERVE = """
import sys
from phenostream.synthetic import RangeServer
with RangeServer(sys.argv[1], rate=float(sys.argv[2]) or None) as server:
    print(server.url, flush=True)
    sys.stdin.read()
    print(server.bytes, flush=True)
"""


def table(head: list[str], rows: list[list[str]]) -> None:
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")


class Fixed:
    """Computing that takes a fixed time and no core."""

    def __init__(self, workers: int, seconds: float) -> None:
        self.workers = workers
        self._seconds = seconds
        self._pool = ThreadPoolExecutor(workers)

    def submit(self, _: Any, *arguments: Any) -> Future[Any]:
        return self._pool.submit(self._compute, *arguments)

    def _compute(self, _: steps.Task) -> steps.Product:
        time.sleep(self._seconds)
        return steps.Product(os.urandom(PART_BYTES), 200, {}, {"compute": self._seconds})

    def revive(self) -> None:
        pass

    def close(self, *, kill: bool = False) -> None:
        self._pool.shutdown(cancel_futures=kill)


class Warm(Processes):
    """Worker processes that have started, imported and computed a field before the clock does.

    Attributes:
        cpu: processor seconds of the workers since then, known once they are closed.
    """

    def __init__(self, workers: int, task: steps.Task) -> None:
        super().__init__(workers)
        for started in [self.submit(time.sleep, 2.0) for _ in range(workers)]:
            started.result()
        for warmed in [self.submit(steps.process, task) for _ in range(2 * workers)]:
            warmed.result()
        self._begun = self._processor_time()
        self.cpu = 0.0

    def _processor_time(self) -> float:
        ticks = 0
        for pid in self._pool._processes or {}:  # noqa: SLF001  (nobody else knows them)
            words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(words[11]) + int(words[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def close(self, *, kill: bool = False) -> None:
        self.cpu = self._processor_time() - self._begun
        super().close(kill=kill)


def frames(folder: Path, wells: int) -> Archive:
    design = Design(name="LT0001_02", rows=8, columns=wells // 8, shape=(1024, 1344), nuclei=240, channels=("DNA",))
    return write_archive(folder / "frames", [design])


# ---- a link ----------------------------------------------------------------------------------------------------------


@contextmanager
def served(folder: Path, rate: float | None) -> Iterator[tuple[str, list[int]]]:
    """A server in a process of its own: its URL, and afterwards the bytes that it has sent."""
    command = [sys.executable, "-c", _SERVE, str(folder), str(rate or 0)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        sent: list[int] = []
        yield process.stdout.readline().strip(), sent
        sent.append(int(process.communicate("")[0]))


def conducted(archive: Archive, out: Path, executor: Any, rate: float | None) -> tuple[float, int, float]:
    """Seconds of a run at this rate, bytes that the server sent, mean seconds of computing a unit."""
    with served(archive.root, rate) as (url, sent):
        recipe = {"source": archive.source(url), "correct": {"method": "none"}}
        started = time.perf_counter()
        told = run(recipe, out, executor=executor)
        seconds = time.perf_counter() - started
        assert told.done == told.inputs
    ledger = Ledger(out)
    compute = sum(spent for stage, spent in mean_seconds(ledger, told.inputs).items() if stage != "fetch")
    ledger.close()
    shutil.rmtree(out)
    return seconds, sent[0], compute


def link(work: Path, wells: int, workers: int, repeats: int, *, real: bool) -> None:
    archive = frames(work, wells)
    warm = Frames(archive, work).task

    def once(name: str, rate: float | None) -> tuple[float, int, float]:
        executor = Warm(workers, warm) if real else Fixed(workers, SECONDS)
        return conducted(archive, work / name, executor, rate)

    _, sent, each = first = once("alone", None)
    walls = [first[0]]
    compute = first[0] if real else wells * SECONDS / workers
    links = [(sent / (ratio * compute), words) for ratio, words in LINKS]
    links += [(PUBLISHED, "217 Mbit/s, as observed from the archive")] if real else []
    took: dict[float, list[float]] = {rate: [] for rate, _ in links}
    for number in range(repeats):
        for rate, _ in links:
            took[rate].append(once(f"link-{number}", rate)[0])
        walls.append(once(f"alone-{number}", None)[0])
    compute = min(walls) if real else compute
    print(f"{wells} frames of {sent / wells / 1e6:.2f} MB, {workers} workers, {each:.2f} s of computing a frame\n")
    rows = []
    for rate, words in links:
        wall, fetch = min(took[rate]), sent / rate
        over = 100 * (wall / max(compute, fetch) - 1)
        rows.append([words, f"{rate / 1e6:.1f}", f"{compute:.1f}", f"{fetch:.1f}", f"{wall:.1f}", f"{over:+.0f} %"])
    table(["link", "MB/s", "computing, s", "fetching, s", "wall, s", "over the longer of both"], rows)


# ---- cores -----------------------------------------------------------------------------------------------------------


class Frames:
    """The frames of a local archive, and computing them without the engine."""

    def __init__(self, archive: Archive, work: Path) -> None:
        self.asked = {"source": archive.source(), "correct": {"method": "none"}}
        recipe = Recipe.load(self.asked)
        self._store = open_store(catalogs.base(recipe.source))
        self._text = recipe.canonical_steps()
        self._work = work
        self.fields = [one for one in catalogs.units(recipe.source, self._store) if one.planes]
        self.task = self._captured(self.fields[0], work / "warm")

    def _captured(self, field: values.Field, folder: Path) -> steps.Task:
        capture = CapturingStore(self._store, folder, grant=lambda _: None)
        for plane in field.planes:
            formats.touch(capture, plane)
        capture.seal()
        return steps.Task(field, str(folder), self._text, {})

    def plain(self, executor: Warm) -> set[str]:
        """Hashes of all parts: each process is given a frame as soon as it has done one."""
        folder = self._work / "plain"
        found = set()

        def one(number: int) -> str:
            task = self._captured(self.fields[number], folder / str(number))
            payload = executor.submit(steps.process, task).result().payload
            return hashlib.sha256(payload).hexdigest()

        with ThreadPoolExecutor(executor.workers) as pool:
            found = set(pool.map(one, range(len(self.fields))))
        executor.close()
        shutil.rmtree(folder)
        return found

    def engine(self, executor: Warm) -> set[str]:
        """The same through the engine."""
        folder = self._work / "engine"
        run(self.asked, folder, executor=executor)
        found = {path.stem for path in (folder / "parts").rglob("*.parquet")}
        shutil.rmtree(folder)
        return found


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds: by the clock, of the workers' cores, and of the core of the process that leads them."""

    wall: float
    workers: float
    leader: float


def scaling_of_real_work(work: Path, wells: int, repeats: int) -> None:
    archive = frames(work, wells)
    given = Frames(archive, work)
    costs: dict[tuple[str, int], list[Cost]] = {}
    expected: set[str] = set()
    for _ in range(repeats):
        for count in (1, 2):
            for name, compute in (("plain", given.plain), ("engine", given.engine)):
                executor = Warm(count, given.task)
                wall, leader = time.perf_counter(), time.process_time()
                found = compute(executor)
                cost = Cost(time.perf_counter() - wall, executor.cpu, time.process_time() - leader)
                costs.setdefault((name, count), []).append(cost)
                expected = expected or found
                assert found == expected, "the engine and the plain processes must give the same bytes"
    cores, rows = len(os.sched_getaffinity(0)), []
    best = {case: Cost(*(min(getattr(one, part) for one in found) for part in ("wall", "workers", "leader")))
            for case, found in costs.items()}  # fmt: skip
    for (name, count), cost in best.items():
        allowed = {n: _allowed(best[name, n], n, cores) for n in (1, count)}
        rows.append(
            [
                name, str(count), f"{cost.wall:.1f}", f"{cost.workers / wells:.3f}", f"{cost.leader / wells:.3f}",
                f"{best[name, 1].wall / cost.wall:.2f} x", f"{allowed[1] / allowed[count]:.2f} x",
            ]
        )  # fmt: skip
    head = ["", "workers", f"wall, s for {wells} frames", "worker, s of a core a frame", "leader, s of a core a frame"]
    table([*head, "beside one", f"... as {cores} idle cores allow"], rows)
    added = best["engine", 1].wall / best["plain", 1].wall - 1
    spent = [best[name, 1].workers + best[name, 1].leader for name in ("engine", "plain")]
    print(f"\nengine over plain, one worker: {100 * added:+.1f} % by the clock, "
          f"{100 * (spent[0] / spent[1] - 1):+.1f} % of processor time")  # fmt: skip


def _allowed(cost: Cost, workers: int, cores: int) -> float:
    """Seconds that idle cores would take: the workers side by side, or everything shared out among all cores."""
    return max(cost.workers / workers, (cost.workers + cost.leader) / cores)


def scaling_of_fixed_work(work: Path, wells: int) -> None:
    archive = frames(work, wells)
    rows, first = [], 0.0
    for workers in (1, 2, 4, 8):
        wall, _, each = conducted(archive, work / f"workers-{workers}", Fixed(workers, SECONDS), None)
        first = first or wall
        rows.append([str(workers), f"{wall:.1f}", f"{each:.2f}", f"{first / wall:.2f} x"])
    table(["workers", f"wall, s for {wells} frames", "computing, s a frame", "beside one"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("link", "workers"))
    parser.add_argument("--wells", type=int, default=96)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="turns taken; the best of each counts")
    parser.add_argument("--real", action="store_true")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if told.what == "link":
            link(Path(folder), told.wells, told.workers, told.repeats, real=told.real)
        elif told.real:
            scaling_of_real_work(Path(folder), told.wells, told.repeats)
        else:
            scaling_of_fixed_work(Path(folder), told.wells)


if __name__ == "__main__":
    main()
