"""The stream: bytes moved a frame, seconds an image by stage, and what the engine adds to a plain loop.

python benchmarks/stream.py bytes            # loopback HTTP and S3, OME-Zarr and CellH5
python benchmarks/stream.py stages           # 1344x1024 frames with about 240 nuclei, end to end
python benchmarks/stream.py overhead         # the engine beside a plain loop over the same units
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from phenostream import formats
from phenostream.profiles import read_profiles
from phenostream.sources import CapturingStore, MetadataCache, TransportOptions, catalogs, open_store
from phenostream.stream import Inline, Processes, Recipe, run, steps
from phenostream.stream.ledger import Ledger
from phenostream.stream.overview import mean_seconds
from phenostream.synthetic import Archive, Design, RangeServer, write_archive

PUBLISHED_SECONDS = "17.7-18.3"


def table(head: list[str], rows: list[list[str]]) -> None:
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")


def chunk_bytes(archive: Archive, field: object) -> int:
    """Compressed size of exactly the chunks that hold the field's planes, counted without phenostream's readers."""
    total = 0
    for plane in field.planes:  # type: ignore[attr-defined]
        if plane.format == "ome_zarr":
            folder = archive.root / plane.key / plane.inner
            meta = json.loads((folder / ".zarray").read_text())
            separator = meta.get("dimension_separator", ".")
            counts = [-(-size // chunk) for size, chunk in zip(meta["shape"], meta["chunks"], strict=True)]
            for y in range(counts[3]):
                for x in range(counts[4]):
                    total += (folder / separator.join(map(str, (plane.t, plane.c, plane.z, y, x)))).stat().st_size
        else:
            import h5py

            with h5py.File(archive.root / plane.key) as file:
                dataset = file[plane.inner]["image/channel"]
                for number in range(dataset.id.get_num_chunks()):
                    info = dataset.id.get_chunk_info(number)
                    inside = all(
                        start <= wanted < start + length
                        for start, wanted, length in zip(
                            info.chunk_offset, (plane.c, plane.t, plane.z), dataset.chunks, strict=False
                        )
                    )
                    total += info.size * inside
    return total


@contextmanager
def served(archive: Archive, how: str) -> Iterator[tuple[str, TransportOptions]]:
    if how == "http":
        with RangeServer(archive.root) as server:
            yield server.url, TransportOptions()
    else:
        from phenostream.testing.servers import S3Server

        with S3Server({"archive": archive.root}) as server:
            yield "s3://archive", TransportOptions(endpoint=server.endpoint, anonymous=True)


def bytes_moved(work: Path) -> None:
    rows = []
    for layout in ("zarr", "cellh5"):
        for shape in ((512, 512), (1024, 1344)):
            design = Design(name="LT0001_02", rows=2, columns=3, shape=shape, frames=5 if layout == "cellh5" else 1)
            archive = write_archive(work / f"{layout}-{shape[0]}", [design], layout=layout)
            for how in ("http", "s3"):
                with served(archive, how) as (url, options):
                    rows.append([layout, f"{shape[1]}x{shape[0]}", how, *one_layout(archive, url, options, work)])
    table(["layout", "frame", "server", "chunks, kB a frame", "moved, kB a frame", "ratio", "requests a frame"], rows)


def one_layout(archive: Archive, url: str, options: TransportOptions, work: Path) -> list[str]:
    settings = catalogs.parse(archive.source(url))
    store = open_store(catalogs.base(settings), options=options)
    fields = [one for one in catalogs.units(settings, store) if one.planes]
    cache = MetadataCache()
    folder = work / "captures"
    for number, field in enumerate(fields):
        capture = CapturingStore(store, folder / str(number), grant=lambda _: None, cache=cache)
        for plane in field.planes:
            formats.touch(capture, plane)
        capture.seal()
    shutil.rmtree(folder)
    needed = sum(chunk_bytes(archive, field) for field in fields)
    moved, requests = store.traffic.bytes, store.traffic.requests
    return [
        f"{needed / len(fields) / 1e3:.0f}", f"{moved / len(fields) / 1e3:.0f}",
        f"{moved / needed:.3f}", f"{requests / len(fields):.1f}",
    ]  # fmt: skip


def frames(work: Path, wells: int) -> Archive:
    design = Design(name="LT0001_02", rows=2, columns=wells // 2, shape=(1024, 1344), nuclei=240, channels=("DNA",))
    return write_archive(work / "frames", [design])


def stages(work: Path, wells: int, workers: int) -> None:
    archive = frames(work, wells)
    with RangeServer(archive.root) as server:
        asked = {"source": archive.source(server.url), "correct": {"method": "basic", "frames": 12}}
        started = time.perf_counter()
        told = run(asked, work / "run", executor=Processes(workers))
        wall = time.perf_counter() - started
    ledger = Ledger(work / "run")
    means = mean_seconds(ledger)
    ledger.close()
    cells = read_profiles(work / "run").num_rows
    order = ("fetch", "read", "correct", "segment", "measure", "write")
    print(f"{told.done} frames of 1344x1024, {cells / told.done:.0f} nuclei each, {workers} workers, loopback HTTP\n")
    rows = [[stage, f"{means[stage]:.2f}"] for stage in order]
    rows.append(["sum, one core", f"{sum(means.values()):.2f}"])
    rows.append([f"**wall, {workers} workers**, start-up and illumination fit included", f"**{wall / told.done:.2f}**"])
    rows.append(["idrstream, published (24 cores, GPU)", PUBLISHED_SECONDS])
    table(["stage", "seconds an image"], rows)


def overhead(work: Path, wells: int) -> None:
    """The same units through the engine and through a plain loop, in turns; the best of four counts."""
    archive = frames(work, wells)
    asked = {"source": archive.source(), "correct": {"method": "none"}}
    recipe = Recipe.load(asked)
    store = open_store(catalogs.base(recipe.source))
    fields = [one for one in catalogs.units(recipe.source, store) if one.planes]
    text = recipe.canonical_steps()

    def plain() -> list[bytes]:
        payloads = []
        for number, field in enumerate(fields):
            folder = work / "plain" / str(number)
            capture = CapturingStore(store, folder, grant=lambda _: None)
            for plane in field.planes:
                formats.touch(capture, plane)
            capture.seal()
            payloads.append(steps.process(steps.Task(field, str(folder), text, {})).payload)
        return payloads

    payloads = plain()  # the first one pays for what is imported and compiled
    shutil.rmtree(work / "plain")
    spent: dict[str, list[float]] = {"plain": [], "engine": []}
    for _ in range(4):
        started = time.perf_counter()
        again = plain()
        spent["plain"].append(time.perf_counter() - started)
        started = time.perf_counter()
        told = run(asked, work / "engine", executor=Inline())
        spent["engine"].append(time.perf_counter() - started)
        parts = {path.read_bytes() for path in (told.folder / "parts").rglob("*.parquet")}
        assert again == payloads, "a loop must give the same bytes each time"
        assert parts == set(payloads), "the engine and the loop must give the same bytes"
        shutil.rmtree(work / "plain")
        shutil.rmtree(work / "engine")
    loop, engine = (min(spent[name]) for name in ("plain", "engine"))
    table(
        ["units", "plain loop, s", "engine, s", "overhead"],
        [[str(len(fields)), f"{loop:.2f}", f"{engine:.2f}", f"{100 * (engine / loop - 1):.1f} %"]],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("bytes", "stages", "overhead"))
    parser.add_argument("--wells", type=int, default=24)
    parser.add_argument("--workers", type=int, default=2)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if told.what == "bytes":
            bytes_moved(Path(folder))
        elif told.what == "stages":
            stages(Path(folder), told.wells, told.workers)
        else:
            overhead(Path(folder), told.wells)


if __name__ == "__main__":
    main()
