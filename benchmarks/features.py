"""Time, equality, growth, memory and use of all cores of the feature families, beside cp_measure on the same images.

Run ``python benchmarks/features.py [--json FILE] [PART ...]``; parts are ``compare``, ``growth``, ``memory`` and
``cores``, all of them by default. ``--data FOLDER`` adds a real image from the nuclei set. All but ``cores`` run on one
core and count processor time, so that other work on the machine matters little.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

# One core each: the numerical libraries read this when they are imported.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

# ruff: noqa: E402
import cp_measure
import numpy as np
import tifffile
from rich.console import Console
from rich.table import Table

from phenostream import measure
from phenostream.features.registry import family
from phenostream.features.scene import Scene
from phenostream.features.settings import PUBLISHED
from phenostream.testing.measures import disagreements, witness

THEIR_OPTIONS = {"neighbors": {"distance_method": "Adjacent"}}
TOLERANCE = {"texture": (1e-6, 5e-8), "granularity": (1e-6, 1e-5)}
REAL = ("dsb2018_train_part3.zip", "8efed2e62c919e6d70a2ab548b1a33014877fe8a23f177ef25a9dee25ffe8842")


def nuclei(count, shape, seed=0, radius=(8, 13)):
    """Elliptic nuclei with speckle on a jittered grid, uint16, and their labels."""
    rng = np.random.default_rng(seed)
    height, width = shape
    columns = int(np.ceil(np.sqrt(count * width / height)))
    rows = int(np.ceil(count / columns))
    labels = np.zeros(shape, np.int32)
    for number in range(count):
        step = height / rows, width / columns
        y = (number // columns + 0.5 + rng.uniform(-0.15, 0.15)) * step[0]
        x = (number % columns + 0.5 + rng.uniform(-0.15, 0.15)) * step[1]
        a, b = rng.uniform(*radius, 2)
        top, left = max(0, int(y - 20)), max(0, int(x - 20))
        v, u = np.mgrid[top : min(height, int(y + 20)), left : min(width, int(x + 20))]
        turn = rng.uniform(0, np.pi)
        along, across = (v - y) * np.cos(turn) + (u - x) * np.sin(turn), (u - x) * np.cos(turn) - (v - y) * np.sin(turn)
        labels[v, u] = np.where((along / a) ** 2 + (across / b) ** 2 <= 1, number + 1, labels[v, u])
    image = np.where(labels > 0, 9000 + 4000 * rng.random(count + 1)[labels], 900) + rng.normal(0, 700, shape)
    return np.clip(image, 0, 65535).astype(np.uint16), labels


def real(folder):
    """A fluorescence field of 260 nuclei, 520 x 696."""
    archive, name = REAL
    with zipfile.ZipFile(folder / "nuclei" / archive) as files:
        read = [tifffile.imread(io.BytesIO(files.read(f"train/{kind}/{name}.tif"))) for kind in ("images", "masks")]
    return read[0], read[1].astype(np.int32)


def fastest(function, repeats=5):
    """Least seconds of `repeats` calls, after one that does not count."""
    function()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        found.append(time.perf_counter() - start)
    return min(found)


def busy(function, repeats=5):
    """Least processor seconds of `repeats` calls, after one that does not count."""
    function()
    found = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        found.append(time.process_time() - start)
    return min(found)


def compare(image, labels):
    """Processor ms by family: ours, with all shared geometry paid by each, and cp_measure plain and with numba."""
    pixels = image / np.iinfo(image.dtype).max
    rows = []
    for name in PUBLISHED:
        rtol, atol = TOLERANCE.get(name, (1e-9, 1e-9))
        options = THEIR_OPTIONS.get(name, {})
        wrong = disagreements(name, image, labels, rtol=rtol, atol=atol, **options)
        differing = {line.split(" of ")[1].split(":")[0] for line in wrong}
        # Where several vertices of a hull lie on its smallest circle, rounding decides which pixels of the rim count.
        if len(differing) > (0.01 * labels.max() if name == "zernike" else 0):
            raise SystemExit(f"{name} is not equal: {wrong[:3]}")
        module = family(name)
        ours = busy(lambda module=module: module.compute(Scene(image, labels), module.Settings()))
        theirs = {}
        for accelerator in (None, "numba"):
            cp_measure.set_accelerator(accelerator)
            theirs[accelerator] = busy(lambda name=name, options=options: witness(name, pixels, labels, **options), 2)
        cp_measure.set_accelerator(None)
        row = {"family": name, "unequal": len(differing), "ours": ours * 1e3}
        rows.append({**row, "plain": theirs[None] * 1e3, "numba": theirs["numba"] * 1e3})
    whole = busy(lambda: measure(image, labels))
    total = {key: sum(row[key] for row in rows) for key in ("plain", "numba")}
    rows.append({"family": "all, as one table", "unequal": 0, "ours": whole * 1e3, **total})
    return rows


# Objects and sides: both together at one density, objects alone, pixels alone.
DENSITY = ((100, 512), (400, 1024), (1600, 2048), (6400, 4096), (10000, 5120), (25600, 8192))
OBJECTS = ((100, 4096), (1000, 4096), (10000, 4096))
PIXELS = ((256, 1024), (256, 2048), (256, 4096), (256, 8192))


def by_family(count, side):
    """Processor seconds of every family for `count` objects in `side` squared; what families share stands apart."""
    image, labels = nuclei(count, (side, side))
    repeats = 3 if side <= 4096 else 2
    scene = Scene(image, labels).prepare()
    found = {"shared": busy(lambda: Scene(image, labels).prepare(), repeats)}
    for name in PUBLISHED:
        module = family(name)
        found[name] = busy(lambda module=module: module.compute(scene, module.Settings()), repeats)
    return found


def growth(sizes, share):
    """Processor time of every family by size: microseconds an object, or nanoseconds a pixel."""
    rows = []
    for count, side in sizes:
        found = by_family(count, side)
        scale = 1e6 / count if share == "object" else 1e9 / side**2
        row = {"objects": count, "side": side, **{name: value * scale for name, value in found.items()}}
        rows.append({**row, "all": sum(found.values()) * scale})
    return rows


def _ours(seed):
    """Measure one field, as a worker does."""
    measure(*nuclei(240, (1024, 1344), seed))


def _theirs(seed):
    """The same families of the same field by cp_measure, with its numba kernels."""
    warnings.simplefilter("ignore")
    cp_measure.set_accelerator("numba")
    image, labels = nuclei(240, (1024, 1344), seed)
    for name in PUBLISHED:
        witness(name, image / 65535, labels, **THEIR_OPTIONS.get(name, {}))


def _nothing(seed):
    """What the making of the field costs."""
    nuclei(240, (1024, 1344), seed)


def processes(task, count, fields):
    """Seconds a field with `count` processes at once, each warm and on its own fields."""
    with ProcessPoolExecutor(count, get_context("spawn")) as pool:
        list(pool.map(task, range(2 * count)))
        start = time.perf_counter()
        list(pool.map(task, range(fields)))
        return (time.perf_counter() - start) / fields


def cores():
    """Seconds a field of 240 nuclei by 1, 2, 4 ... cores: threads in one process, and one process a core."""
    image, labels = nuclei(240, (1024, 1344))
    large = nuclei(1600, (2048, 2048))
    rows = []
    every = os.cpu_count() or 1
    for count in sorted({1, every, *(2**k for k in range(1, every.bit_length()) if 2**k <= every)}):
        fields = 12 * count
        made = processes(_nothing, count, fields)
        ours, theirs = processes(_ours, count, fields) - made, processes(_theirs, count, 4 * count) - made
        row = {"cores": count, "threads": fastest(lambda count=count: measure(image, labels, threads=count))}
        row["threads, 1600 objects"] = fastest(lambda count=count: measure(*large, threads=count), 3)
        rows.append({**row, "processes": ours, "cp_measure, processes": theirs, "ratio": theirs / ours})
    return rows


MEASURED = """
import sys
import numpy as np
from phenostream import measure
image, labels = (np.load(path) for path in sys.argv[1:])
measure(image[:256, :256], labels[:256, :256])
def resident(word):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(word))
with open("/proc/self/clear_refs", "w") as peak:
    peak.write("5")
before = resident("VmRSS")
measure(image, labels)
print((resident("VmHWM") - before) / image.nbytes)
"""


def memory(side=8192):
    """Peak resident memory over that of image and labels, as a multiple of a uint16 image of `side` squared (Linux)."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{name}.npy" for name in ("image", "labels")]
        for path, array in zip(paths, nuclei(side * side // 2621, (side, side)), strict=True):
            np.save(path, array)
        command = [sys.executable, "-c", MEASURED, *paths]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def show(console, title, rows):
    table = Table(title=title)
    for key in rows[0]:
        table.add_column(key)
    for row in rows:
        table.add_row(*(value if isinstance(value, str) else f"{value:.3g}" for value in row.values()))
    console.print(table)


PARTS = ("compare", "growth", "memory", "cores")


def _compare(console, chosen):
    fields = {"240 nuclei, 1344 x 1024 uint16, synthetic": nuclei(240, (1024, 1344))}
    if (chosen.data / "nuclei").is_dir():
        fields = {"260 nuclei, 520 x 696 uint8, real": real(chosen.data), **fields}
    result = {}
    for title, (image, labels) in fields.items():
        rows = compare(image, labels)
        for row in rows:
            row["ratio"] = min(row["plain"], row["numba"]) / row["ours"]
        result[title] = rows
        show(console, f"ms of one core, {title}; cp_measure plain and with numba; ratio to its better", rows)
    return result


def _growth(console, chosen):  # noqa: ARG001
    _ours(0)
    result = {}
    for name, sizes, share, unit in (
        ("objects and pixels", DENSITY, "object", "us an object"),
        ("objects", OBJECTS, "object", "us an object"),
        ("pixels", PIXELS, "pixel", "ns a pixel"),
    ):
        result[name] = growth(sizes, share)
        show(console, f"processor time, {unit}: more {name}", result[name])
    return result


def _memory(console, chosen):  # noqa: ARG001
    result = memory()
    console.print(f"peak memory: {result:.1f} x the image (8192 x 8192 uint16)")
    return result


def _cores(console, chosen):  # noqa: ARG001
    result = cores()
    show(console, "seconds a field of 240 nuclei, 1344 x 1024", result)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--json", type=Path)
    parser.add_argument("parts", nargs="*", metavar="PART", default=PARTS, help=f"of: {', '.join(PARTS)}")
    chosen = parser.parse_args()
    if unknown := set(chosen.parts) - set(PARTS):
        parser.error(f"no part {', '.join(unknown)}")
    warnings.simplefilter("ignore")
    console = Console(width=170)
    result = {}
    for part in chosen.parts:
        result[part] = globals()[f"_{part}"](console, chosen)
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
