"""How fast packed sites come, beside other loaders: same sites, same machine, one run, the same two cores for each.

    python benchmarks/loading.py --tensorflow /venv-tf/bin/python --others /venv-others/bin/python

The others' environment has webdataset, litdata, tensorstore, zstandard and opencv-python-headless; what has no
interpreter is told as not measured. Every loader runs in a process of its own, bound to the same two cores. All give
whole batches of 16 sites as arrays; before the clock starts, the digests of what they give are compared. Then they take
turns, one epoch each, for as many rounds as asked; of each the best epoch counts, since whatever else the machine does
only ever adds time. Reading is from a warm page cache; the limits of codec and disk stand beside it.

The screen is generated, as dark as RxRx1 and enlarged until cells have the size and PNG files the bytes that RxRx1's
have (62 kB). Beside the pack, which tensorstore reads as the Zarr array that it is, there are loose PNG files (OpenCV's
defaults), TFRecord with whole-file gzip, WebDataset tar files and litdata chunks of Zstandard items.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 16
FEWEST = 32
ENLARGED = 4
SHAPE = (6, 512, 512)
# Reached from environments that have no phenostream: nothing of it is imported above.


class Codec:
    """The limit: stored sites in memory, decoded by two threads into one batch, no checksum, no reading."""

    def __init__(self, folder: Path) -> None:
        from concurrent.futures import ThreadPoolExecutor

        from phenostream import datasets

        self.pack = datasets.open_pack(folder / "pack")
        self.blobs = [self.pack.blob(k) for k in range(len(self.pack))]
        self.out = np.empty((BATCH, *self.pack.shape), self.pack.dtype)
        self.pool = ThreadPoolExecutor(2)

    def epoch(self) -> Iterator[np.ndarray]:
        def half(batch: list[int], part: int) -> None:
            for at in range(part, len(batch), 2):
                self.pack.decode(self.blobs[batch[at]], self.out[at])

        order = np.random.default_rng().permutation(len(self.blobs)).tolist()
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            list(self.pool.map(lambda part, batch=batch: half(batch, part), (0, 1)))
            yield self.out[: len(batch)]

    def one(self, site: int) -> np.ndarray:
        return self.pack.decode(self.blobs[site], self.out[0])


class Ours:
    """phenostream: full shuffle, checksums compared."""

    def __init__(self, folder: Path) -> None:
        from phenostream import datasets
        from phenostream.datasets import loading

        self.pack = datasets.open_pack(folder / "pack")
        self.batches = loading.batches(self.pack, batch_size=BATCH)

    def epoch(self) -> Iterator[np.ndarray]:
        return (batch.pixels for batch in self.batches)

    def one(self, site: int) -> np.ndarray:
        return self.pack[site]


class OursTorch(Ours):
    """The same as PyTorch tensors."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        from phenostream.datasets import loading

        self.loader = loading.torch_loader(self.batches)

    def epoch(self) -> Iterator[np.ndarray]:
        return (batch["pixels"].numpy() for batch in self.loader)


class Png:
    """Six loose files a site, two threads."""

    def __init__(self, folder: Path) -> None:
        from concurrent.futures import ThreadPoolExecutor

        import cv2

        self.cv2 = cv2
        cv2.setNumThreads(1)
        self.sites = sorted((folder / "png").iterdir())
        self.pool = ThreadPoolExecutor(2)

    def _into(self, out: np.ndarray, site: int) -> None:
        for channel in range(len(out)):
            out[channel] = self.cv2.imread(str(self.sites[site] / f"{channel}.png"), self.cv2.IMREAD_UNCHANGED)

    def epoch(self) -> Iterator[np.ndarray]:
        out = np.empty((BATCH, *SHAPE), np.uint8)
        order = np.random.default_rng().permutation(len(self.sites)).tolist()
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            list(self.pool.map(self._into, out, batch))
            yield out[: len(batch)]

    def one(self, site: int) -> np.ndarray:
        out = np.empty(SHAPE, np.uint8)
        self._into(out, site)
        return out


class TfRecord:
    """TensorFlow: interleaved gzip files, parsed, shuffled with a buffer of 64, batched and prefetched."""

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        tf.config.threading.set_inter_op_parallelism_threads(2)
        tf.config.threading.set_intra_op_parallelism_threads(2)
        files = sorted(map(str, (folder / "tfrecord").rglob("*.tfrecord")))
        height, width = SHAPE[1:]

        def parse(record: Any) -> Any:
            told = tf.io.parse_single_example(record, {"image": tf.io.FixedLenFeature([], tf.string)})
            return tf.reshape(tf.io.decode_raw(told["image"], tf.uint8), (height, width, SHAPE[0]))

        data = tf.data.TFRecordDataset(files, compression_type="GZIP", buffer_size=8 << 20, num_parallel_reads=2)
        data = data.shuffle(64).map(parse, num_parallel_calls=2, deterministic=False)
        self.data = data.batch(BATCH).prefetch(2)

    def epoch(self) -> Iterator[np.ndarray]:
        # Channels last, as it stores them: turning them would cost it more.
        return (batch.numpy() for batch in self.data)


class WebDataset:
    """webdataset: a tar member of Zstandard a site; `workers` processes."""

    def __init__(self, folder: Path, workers: int) -> None:
        import io

        import webdataset as wds
        import zstandard

        files = sorted(map(str, (folder / "webdataset").rglob("*.tar")))

        def decoded(sample: dict[str, bytes]) -> np.ndarray:
            return np.load(io.BytesIO(zstandard.ZstdDecompressor().decompress(sample["npy.zst"])))

        data = wds.WebDataset(files, shardshuffle=len(files), empty_check=False).shuffle(64).map(decoded)
        data = data.batched(BATCH, partial=True, collation_fn=np.stack)
        self.loader = wds.WebLoader(data, batch_size=None, num_workers=workers, **_kept(workers))

    def epoch(self) -> Iterator[np.ndarray]:
        return iter(self.loader)


class LitData:
    """litdata: chunks of Zstandard items, shuffled; `workers` processes."""

    def __init__(self, folder: Path, workers: int) -> None:
        import zstandard
        from litdata import StreamingDataLoader, StreamingDataset

        class Sites(StreamingDataset):
            def __getitem__(self, index: Any) -> np.ndarray:
                data = zstandard.ZstdDecompressor().decompress(super().__getitem__(index))
                return np.frombuffer(data, np.uint8).reshape(SHAPE)

        self.sites = Sites(str(folder / "litdata"), shuffle=True)
        self.plain = Sites(str(folder / "litdata"), shuffle=False)
        self.loader = StreamingDataLoader(
            self.sites, batch_size=BATCH, num_workers=workers, collate_fn=np.stack, **_kept(workers)
        )

    def epoch(self) -> Iterator[np.ndarray]:
        return iter(self.loader)

    def one(self, site: int) -> np.ndarray:
        return self.plain[site]


class TensorStore:
    """tensorstore: the pack as the Zarr array that it is, `ahead` batches asked for ahead, full shuffle."""

    def __init__(self, folder: Path, ahead: int = 2) -> None:
        import tensorstore as ts

        document = next((folder / "pack" / "images").glob("**/c")).parent
        self.array = ts.open(
            {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{document}/"}},
            context=ts.Context({"data_copy_concurrency": {"limit": 2}, "file_io_concurrency": {"limit": 4}}),
            open=True,
        ).result()
        self.ahead = ahead

    def epoch(self) -> Iterator[np.ndarray]:
        order = np.random.default_rng().permutation(self.array.shape[0])
        waiting = []
        for start in range(0, len(order), BATCH):
            waiting.append(self.array[order[start : start + BATCH]].read())
            if len(waiting) > self.ahead:
                yield waiting.pop(0).result()
        yield from (one.result() for one in waiting)

    def one(self, site: int) -> np.ndarray:
        return self.array[site].read().result()


def _kept(workers: int) -> dict[str, Any]:
    return {"persistent_workers": True, "prefetch_factor": 2} if workers else {}


# name: (what makes it, whose interpreter)
LOADERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "codec alone": (Codec, "ours"),
    "phenostream": (Ours, "ours"),
    "phenostream, tensors": (OursTorch, "ours"),
    "tensorstore": (TensorStore, "others"),
    "litdata": (lambda folder: LitData(folder, 0), "others"),
    "litdata, 2 workers": (lambda folder: LitData(folder, 2), "others"),
    "webdataset": (lambda folder: WebDataset(folder, 0), "others"),
    "webdataset, 2 workers": (lambda folder: WebDataset(folder, 2), "others"),
    "loose PNG": (Png, "others"),
    "TFRecord GZIP, TensorFlow": (TfRecord, "tensorflow"),
}
ALWAYS = ("codec alone", "phenostream")
PEERS = ("tensorstore", "litdata", "litdata, 2 workers", "webdataset", "webdataset, 2 workers")


def serve(name: str, folder: Path) -> None:
    """Do what comes on standard input: the side of one loader."""
    answers = os.dup(1)
    os.dup2(2, 1)  # libraries may print
    loader = LOADERS[name][0](folder)
    with os.fdopen(answers, "w") as out:
        for line in sys.stdin:
            told = {"epoch": epoch, "digest": digest, "latency": latency, "memory": memory}[line.strip()](loader)
            print(json.dumps(told), file=out, flush=True)


def epoch(loader: Any) -> list[float]:
    """Seconds, sites, and seconds of the processor."""
    start, before, sites = time.perf_counter(), work(), 0
    for batch in loader.epoch():
        sites += len(batch)
    return [time.perf_counter() - start, sites, work() - before]


def digest(loader: Any) -> str:
    """Of all sites, whatever their order."""
    found = []
    for batch in loader.epoch():
        for site in batch:
            planes = site if site.shape == SHAPE else np.moveaxis(site, -1, 0)
            found.append(hashlib.sha256(np.ascontiguousarray(planes)).hexdigest())
    return hashlib.sha256("".join(sorted(found)).encode()).hexdigest()


def latency(loader: Any) -> list[float]:
    """Milliseconds of 16 single sites at random; none where there is no random access."""
    found: list[float] = []
    for site in np.random.default_rng().integers(0, FEWEST, 16 * hasattr(loader, "one")).tolist():
        start = time.perf_counter()
        loader.one(site)
        found.append((time.perf_counter() - start) * 1e3)
    return found


def memory(_: Any) -> float:
    """Peak megabytes of this process and its workers, each at its own peak; pages that they share count for each."""
    found = 0.0
    for folder in family():
        told = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
        found += int(told["VmHWM"].split()[0]) / 1e3
    return found


def work() -> float:
    """Seconds of the processor that this process and its workers have taken."""
    ticks = 0
    for folder in family():
        ticks += sum(map(int, (folder / "stat").read_text().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def family() -> Iterator[Path]:
    """Folders of this process and of its descendants in the system's list of processes."""
    waiting = [os.getpid()]
    while waiting:
        folder = Path("/proc") / str(waiting.pop())
        try:
            for thread in (folder / "task").iterdir():
                waiting += map(int, (thread / "children").read_text().split())
        except OSError:
            continue  # it has ended
        yield folder


class Peer:
    """A loader in its own process."""

    def __init__(self, name: str, interpreter: str, folder: Path) -> None:
        self.name = name
        environment = os.environ | {"OMP_NUM_THREADS": "2", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
        self.process = subprocess.Popen(
            [interpreter, "-W", "ignore", __file__, "--serve", name, "--folder", str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
        )  # fmt: skip

    def ask(self, what: str) -> Any:
        assert self.process.stdin
        assert self.process.stdout
        print(what, file=self.process.stdin, flush=True)
        if not (answer := self.process.stdout.readline()):
            raise SystemExit(f"{self.name} has ended")
        return json.loads(answer)

    def end(self) -> None:
        self.process.communicate()


def write_litdata(folder: Path, source: Path) -> None:
    """In the others' interpreter: the sites of `source` (one array) as litdata chunks."""
    import zstandard
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(str(folder), chunk_bytes=32_000_000)
    for index, site in enumerate(np.load(source, mmap_mode="r")):
        writer[index] = zstandard.ZstdCompressor(level=3).compress(np.ascontiguousarray(site))
    writer.done()
    writer.merge()


def write_png(folder: Path, source: Path) -> None:
    """In the others' interpreter: six files a site."""
    import cv2

    for index, site in enumerate(np.load(source, mmap_mode="r")):
        place = folder / f"{index:05d}"
        place.mkdir(parents=True)
        for channel, plane in enumerate(site):
            cv2.imwrite(str(place / f"{channel}.png"), plane)


WRITERS = {"litdata": write_litdata, "png": write_png}


def prepare(folder: Path, sites: int, interpreters: dict[str, str]) -> int:
    """All forms of one screen; the number of its sites."""
    from phenostream import datasets
    from phenostream.synthetic.screen import ScreenDesign, fields

    wells, (height, width) = max(4, sites // 12), SHAPE[1:]
    small = (height // ENLARGED, width // ENLARGED)
    design = ScreenDesign(perturbations=2 * (wells - 2), positives=1, negatives=1, sites=1, shape=small, missing=0.0)
    large = [replace(one, pixels=lambda read=one.pixels: enlarged(read())) for one in fields(design)]
    datasets.pack(large, folder / "pack", settings=datasets.PackSettings(by=(), shard_mb=16))
    pack = datasets.open_pack(folder / "pack")
    np.save(folder / "sites.npy", pack.read(range(len(pack))))
    files = max(1, len(pack) // 6)
    datasets.export(pack, folder / "tfrecord", {"format": "tfrecord", "controls": True, "sites_per_file": files})
    datasets.export(pack, folder / "webdataset", {"format": "webdataset", "sites_per_file": files})
    for name in WRITERS:
        if "others" in interpreters:
            command = [interpreters["others"], __file__, "--write", name, "--folder", str(folder)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return len(pack)


def enlarged(site: np.ndarray) -> np.ndarray:
    """(C, Y, X) with `ENLARGED` times the side, linear between pixels."""
    from scipy import ndimage

    large = ndimage.zoom(site.astype(np.float32), (1, ENLARGED, ENLARGED), order=1)
    return np.rint(large).astype(site.dtype)


def stored(folder: Path, name: str) -> int:
    """Bytes of the form that a loader reads."""
    form = {"loose": "png", "TFRecord": "tfrecord", "webdataset": "webdataset", "litdata": "litdata"}
    place = folder / form.get(name.replace(",", " ").split()[0], "pack/images")
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file() and path.suffix != ".parquet")


def reading(folder: Path) -> dict[str, float]:
    """Megabytes a second of reading the shards, from the page cache and from the disk."""
    found: dict[str, float] = {}
    files = [path for path in (folder / "pack" / "images").rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    for name in ("disk", "page cache"):
        best = np.inf
        for _ in range(3):
            for path in files:
                with path.open("rb") as file:
                    os.fsync(file.fileno())
                    if name == "disk":
                        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            start = time.perf_counter()
            for path in files:
                with path.open("rb", buffering=0) as file:
                    while file.read(1 << 20):
                        pass
            best = min(best, time.perf_counter() - start)
        found[name] = size / best / 1e6
    return found


Told = dict[str, dict[str, list[float]]]


def table(peers: list[Peer], told: Told, sites: int, folder: Path) -> None:
    raw = int(np.prod(SHAPE))
    best = {name: min(one["seconds"]) for name, one in told.items()}
    print(
        "| loader | sites/s | MB/s decoded | of codec's limit | processor ms/site | bytes/site | random, ms | peak MB |"
        "\n|---|---|---|---|---|---|---|---|"
    )
    for peer in peers:
        name, one = peer.name, told[peer.name]
        rate = sites / best[name]
        single = f"{min(one['single']):.2f}" if one["single"] else "none"
        print(
            f"| {name} | {rate:.0f} | {rate * raw / 1e6:.0f} | {best['codec alone'] / best[name]:.2f} | "
            f"{min(one['work']) / sites * 1e3:.2f} | {stored(folder, name) / sites:,.0f} | {single} | "
            f"{peer.ask('memory'):.0f} |"
        )


def ratios(told: Told) -> None:
    """Of the best epochs; of epochs of the same round, which saw the same machine; and of the processor's time."""
    best = {name: min(one["seconds"]) for name, one in told.items()}
    wanted = {"loose PNG": ">= 5", "TFRecord GZIP, TensorFlow": ">= 2", "codec alone": ">= 0.8"}
    if others := [name for name in PEERS if name in told]:
        wanted |= {min(others, key=lambda name: best[name]): ">= 1"}
    print("\n| phenostream beside | bar | best epochs | median of rounds | processor |\n|---|---|---|---|---|")
    for name, bar in wanted.items():
        if name not in told:
            print(f"| {name} | {bar} | not measured | | |")
            continue
        ours, theirs = told["phenostream"], told[name]
        rounds, work_done = (np.median(np.array(theirs[key]) / np.array(ours[key])) for key in ("seconds", "work"))
        ratio = best[name] / best["phenostream"]
        print(f"| {name} | {bar} | {ratio:.2f} | {rounds:.2f} | {work_done:.2f} |")


def compare(folder: Path, rounds: int, sites: int, interpreters: dict[str, str], only: list[str]) -> None:
    names = [name for name, (_, whose) in LOADERS.items() if whose in interpreters and (name in only or not only)]
    peers = [Peer(name, interpreters[LOADERS[name][1]], folder) for name in names]
    digests = {peer.name: peer.ask("digest") for peer in peers}
    if len({*digests.values()}) != 1:
        raise SystemExit(f"they do not give the same sites: {digests}")
    told: Told = {name: {"seconds": [], "work": [], "single": []} for name in names}
    for number in range(rounds):
        # Another order each round, so that nobody always follows the same one.
        for at in np.random.default_rng(number).permutation(len(peers)):
            seconds, count, work_done = peers[at].ask("epoch")
            if count != sites:
                raise SystemExit(f"{names[at]} gave {count} of {sites} sites")
            found = {"seconds": [seconds], "work": [work_done], "single": []}
            if times := peers[at].ask("latency"):
                found["single"] = [float(np.median(times))]
            for key, values in found.items():
                told[names[at]][key] += values
    print(f"{sites} sites of {'x'.join(map(str, SHAPE))} uint8, batches of {BATCH}, best of {rounds} rounds\n")
    table(peers, told, sites, folder)
    for peer in peers:
        peer.end()
    ratios(told)
    print("\nreading the shards:", ", ".join(f"{name} {rate:.0f} MB/s" for name, rate in reading(folder).items()))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--sites", type=int, default=144)
    arguments.add_argument("--rounds", type=int, default=12)
    arguments.add_argument("--folder", type=Path, default=None, help="keep the files here, or take them from here")
    arguments.add_argument("--tensorflow", default=None, help="interpreter that has TensorFlow")
    arguments.add_argument("--others", default=None, help="interpreter that has the other loaders")
    arguments.add_argument("--only", nargs="*", default=[], choices=list(LOADERS), help="these beside ours")
    arguments.add_argument("--serve", default=None, help=argparse.SUPPRESS)
    arguments.add_argument("--write", default=None, help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.serve:
        serve(chosen.serve, chosen.folder)
        return
    if chosen.write:
        WRITERS[chosen.write](chosen.folder / chosen.write, chosen.folder / "sites.npy")
        return
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    told = {"ours": sys.executable, "others": chosen.others, "tensorflow": chosen.tensorflow}
    interpreters = {name: path for name, path in told.items() if path}
    with tempfile.TemporaryDirectory() as made:
        folder = chosen.folder or Path(made)
        if not (folder / "sites.npy").is_file():
            prepare(folder, chosen.sites, interpreters)
        sites = len(np.load(folder / "sites.npy", mmap_mode="r"))
        compare(folder, chosen.rounds, sites, interpreters, [*ALWAYS, *chosen.only] if chosen.only else [])


if __name__ == "__main__":
    main()
