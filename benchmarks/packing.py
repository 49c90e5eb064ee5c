"""What packing costs and gives: a screen of RxRx1's size of site, from PNG files to a pack and to other formats.

    python benchmarks/packing.py                   # 96 sites of 6 x 512 x 512
    python benchmarks/packing.py --sites 400 --out /fast/disk
    python benchmarks/packing.py --sites 240 --scaling 5

With ``--scaling`` one process, two threads and two processes take turns for so many rounds, a round in an order of its
own; told are the clock, the processor's time of all of them, workers included, and what of it the calling process took,
which no worker can share. Workers have started before: a run of the command pays for that once, as the line above the
table says.

Sites are generated (dark, as real ones: means of 2 to 40 grey levels of 255). Reading is from a warm page cache. Every
figure comes with the time that its codec alone takes on the same bytes in the same process.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from phenostream import datasets
from phenostream.datasets import PackSettings
from phenostream.stream import Processes
from phenostream.synthetic.screen import ScreenDesign, write_screen

PLATES = PackSettings(by=("plate",), shard_mb=16)
FORMATS = (
    {"format": "tfrecord", "controls": True},
    {"format": "tfrecord", "controls": True, "compression": "none"},
    {"format": "webdataset"},
    {"format": "huggingface"},
    {"format": "ome_zarr"},
)


def timed(call: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    found = call()
    return time.perf_counter() - start, found


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def row(*cells: object) -> None:
    print("| " + " | ".join(str(cell) for cell in cells) + " |")


def family() -> list[Path]:
    """Folders of this process and of its descendants in the system's list of processes."""
    waiting, found = [os.getpid()], []
    while waiting:
        found.append(Path("/proc") / str(waiting.pop()))
        for thread in (found[-1] / "task").iterdir():
            waiting += map(int, (thread / "children").read_text().split())
    return found


def work() -> float:
    """Seconds of the processor that this process and its living descendants have taken."""
    ticks = [(folder / "stat").read_text().rpartition(")")[2].split()[11:13] for folder in family()]
    return sum(int(one) for pair in ticks for one in pair) / os.sysconf("SC_CLK_TCK")


def started(count: int, fields: list[object]) -> Processes:
    """Processes that have packed before."""
    workers = Processes(count)
    for future in [workers.submit(time.sleep, 0.5) for _ in range(count)]:
        future.result()
    with tempfile.TemporaryDirectory() as folder:
        settings = PackSettings(by=(), shard_mb=1)
        datasets.pack(fields[: 8 * count], Path(folder) / "pack", settings=settings, executor=workers)
    return workers


def scaling(screen: datasets.Screen, work_in: Path, rounds: int) -> None:
    seconds, workers = timed(lambda: started(2, list(screen.fields)))
    assert isinstance(workers, Processes)
    ways = {"one process": {}, "two threads": {"workers": 2}, "two processes": {"executor": workers}}
    told: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
    try:
        for number in range(rounds + 1):
            for name in np.random.default_rng(number).permutation(list(ways)).tolist():
                folder, before, own = work_in / "scaling", work(), time.process_time()
                clock, _ = timed(lambda f=folder, n=name: datasets.pack(screen, f, settings=PLATES, **ways[n]))
                if number:  # the first round warms the page cache
                    told[name].append((clock, work() - before, time.process_time() - own))
                shutil.rmtree(folder)
    finally:
        workers.close()
    print(f"\nstarting two processes: {seconds:.1f} s")
    print("\n| packing | best clock s | speed beside one process, median of rounds | CPU s, median | of it here |")
    print("|---|---|---|---|---|")
    for name, rows in told.items():
        ratios = [one[0] / mine[0] for one, mine in zip(told["one process"], rows, strict=True)]
        spent, own = (statistics.median(one[at] for one in rows) for at in (1, 2))
        row(
            name, f"{min(one[0] for one in rows):.2f}", f"{statistics.median(ratios):.2f}", f"{spent:.2f}", f"{own:.2f}"
        )


def writing(screen: datasets.Screen, work: Path, raw: int) -> datasets.Pack:
    print("\n| writing | seconds | sites/s | raw MB/s |\n|---|---|---|---|")
    sites = len(screen)

    def told(name: str, seconds: float) -> None:
        row(name, f"{seconds:.2f}", f"{sites / seconds:.0f}", f"{raw / seconds / 1e6:.0f}")

    settings = PLATES
    told("reading the PNG files alone", timed(lambda: [field.read() for field in screen.fields])[0])
    told("audit", timed(lambda: datasets.audit(screen))[0])
    told("pack, this process", timed(lambda: datasets.pack(screen, work / "pack", settings=settings))[0])
    told("pack, 2 threads", timed(lambda: datasets.pack(screen, work / "threads", settings=settings, workers=2))[0])
    workers = started(2, list(screen.fields))
    try:
        seconds, _ = timed(lambda: datasets.pack(screen, work / "processes", settings=settings, executor=workers))
        told("pack, 2 processes", seconds)
    finally:
        workers.close()
    pack = datasets.open_pack(work / "pack")
    pixels = [pack[k] for k in range(len(pack))]
    told("(encoding alone)", timed(lambda: [pack.coding.encode(one) for one in pixels])[0])
    told("again, nothing to do", timed(lambda: datasets.pack(screen, work / "pack", settings=settings))[0])
    told("verify", timed(lambda: datasets.verify_pack(pack))[0])
    return pack


def reading(screen: datasets.Screen, pack: datasets.Pack) -> None:
    print("\n| one site at random | median ms | slowest of 20 ms |\n|---|---|---|")
    order = np.random.default_rng(0).permutation(len(pack))
    blobs = [pack.blob(int(k)) for k in order]
    out = np.empty(pack.shape, pack.dtype)
    for name, calls in (
        ("six PNG files", [field.read for field in np.array(screen.fields, object)[order]]),
        ("pack[i], checksum compared", [lambda k=int(k): pack[k] for k in order]),
        ("decoding alone", [lambda blob=blob: pack.decode(blob, out) for blob in blobs]),
    ):
        seconds = np.sort([timed(call)[0] for call in calls]) * 1e3
        row(name, f"{np.median(seconds):.2f}", f"{seconds[int(0.95 * len(seconds)) - 1]:.2f}")


def exporting(pack: datasets.Pack, images: Path, work: Path, raw: int) -> None:
    print("\n| format | MB | raw over stored | files | seconds to write |\n|---|---|---|---|---|")
    row("PNG files", f"{size(images) / 1e6:.1f}", f"{raw / size(images):.2f}",
        sum(path.is_file() for path in images.rglob("*")), "")  # fmt: skip
    stored = pack.description.bytes
    row("pack", f"{stored / 1e6:.1f}", f"{raw / stored:.2f}", pack.description.shards, "see above")
    for number, settings in enumerate(FORMATS):
        folder = work / f"export-{number}"
        seconds, told = timed(lambda f=folder, s=settings: datasets.export(pack, f, s))
        name = " ".join(str(value) for key, value in settings.items() if key != "controls")
        files = sum(path.is_file() for path in folder.rglob("*")) - 4
        row(name, f"{told.bytes / 1e6:.1f}", f"{raw / told.bytes:.2f}", files, f"{seconds:.1f}")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--sites", type=int, default=96)
    arguments.add_argument("--side", type=int, default=512)
    arguments.add_argument("--scaling", type=int, default=0, metavar="ROUNDS")
    arguments.add_argument("--out", default=None)
    chosen = arguments.parse_args()
    wells = max(1, chosen.sites // 12)
    design = ScreenDesign(
        perturbations=2 * (wells - 2), positives=1, negatives=1, sites=1, shape=(chosen.side, chosen.side), missing=0.0
    )
    with tempfile.TemporaryDirectory(dir=chosen.out) as folder:
        work = Path(folder)
        table = write_screen(work / "screen", design)
        images = work / "screen" / "images"
        screen = datasets.open_screen({"catalog": "rxrx", "base": str(images), "metadata": str(table)})
        raw = len(screen) * 6 * chosen.side**2
        print(f"{len(screen)} sites of 6 x {chosen.side} x {chosen.side}, {raw / 1e6:.0f} MB of pixels")
        if chosen.scaling:
            scaling(screen, work, chosen.scaling)
            return
        pack = writing(screen, work, raw)
        reading(screen, pack)
        exporting(pack, images, work, raw)


if __name__ == "__main__":
    main()
