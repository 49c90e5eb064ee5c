"""Fetching beside computing, two workers beside one: what the engine makes of a link and of cores.

    python benchmarks/overlap.py link              # computing of a fixed length, links from fast to slow
    python benchmarks/overlap.py workers           # computing of a fixed length, 1 to 8 workers
    python benchmarks/overlap.py link --real       # the same with real computing: wants an otherwise idle machine
    python benchmarks/overlap.py workers --real

The bytes are real: 1344 x 1024 frames from a server on the loopback interface that sends no more than the rate given.
Computing of a fixed length (threads that sleep, then hand over a part of 200 kB) shows what the engine adds, whatever
else the machine does meanwhile; with --real, worker processes segment and measure.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from phenostream.stream import Processes, run, steps
from phenostream.stream.ledger import Ledger
from phenostream.stream.overview import mean_seconds
from phenostream.synthetic import Archive, Design, RangeServer, write_archive

SECONDS = 0.4
PART_BYTES = 200_000
LINKS = ((0.05, "20 x faster than computing"), (0.5, "2 x faster"), (1.0, "as fast"), (2.0, "2 x slower"))


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
    """Worker processes that have started and imported before the clock does."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        for started in [self.submit(time.sleep, 3.0) for _ in range(workers)]:
            started.result()


def frames(folder: Path, wells: int) -> Archive:
    design = Design(name="LT0001_02", rows=8, columns=wells // 8, shape=(1024, 1344), nuclei=240, channels=("DNA",))
    return write_archive(folder / "frames", [design])


def conducted(archive: Archive, out: Path, executor: Any, rate: float | None) -> tuple[float, int, float]:
    """Seconds of a run at this rate, bytes that the server sent, mean seconds of computing a unit."""
    with RangeServer(archive.root, rate=rate) as server:
        recipe = {"source": archive.source(server.url), "correct": {"method": "none"}}
        started = time.perf_counter()
        told = run(recipe, out, executor=executor)
        seconds = time.perf_counter() - started
        assert told.done == told.inputs
        ledger = Ledger(out)
        compute = sum(spent for stage, spent in mean_seconds(ledger, told.inputs).items() if stage != "fetch")
        ledger.close()
        return seconds, server.bytes, compute


def link(work: Path, wells: int, workers: int, *, real: bool) -> None:
    archive = frames(work, wells)
    make = Warm if real else lambda count: Fixed(count, SECONDS)
    alone, sent, each = conducted(archive, work / "alone", make(workers), None)
    compute = alone if real else wells * SECONDS / workers
    print(f"{wells} frames of {sent / wells / 1e6:.2f} MB, {workers} workers, {each:.2f} s of computing a frame\n")
    rows = []
    for ratio, words in LINKS:
        rate = sent / (ratio * compute)
        wall, moved, _ = conducted(archive, work / f"link-{ratio}", make(workers), rate)
        fetch = moved / rate
        longer = max(compute, fetch)
        rows.append(
            [
                words,
                f"{rate / 1e6:.1f}",
                f"{compute:.1f}",
                f"{fetch:.1f}",
                f"{wall:.1f}",
                f"{100 * (wall / longer - 1):+.0f} %",
            ]
        )
    table(["link", "MB/s", "computing, s", "fetching, s", "wall, s", "over the longer of both"], rows)


def scaling(work: Path, wells: int, *, real: bool) -> None:
    archive = frames(work, wells)
    rows, first = [], 0.0
    for workers in (1, 2) if real else (1, 2, 4, 8):
        executor = Warm(workers) if real else Fixed(workers, SECONDS)
        wall, _, each = conducted(archive, work / f"workers-{workers}", executor, None)
        first = first or wall
        rows.append([str(workers), f"{wall:.1f}", f"{each:.2f}", f"{first / wall:.2f} x"])
    table(["workers", f"wall, s for {wells} frames", "computing, s a frame", "beside one"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("link", "workers"))
    parser.add_argument("--wells", type=int, default=96)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--real", action="store_true")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if told.what == "link":
            link(Path(folder), told.wells, told.workers, real=told.real)
        else:
            scaling(Path(folder), told.wells, real=told.real)


if __name__ == "__main__":
    main()
