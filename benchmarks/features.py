"""Time, equality, growth and memory of the feature families, beside cp_measure on the same image and labels.

Run ``python benchmarks/features.py [--json FILE]``; ``--data FOLDER`` adds a real image from the nuclei set. One core.
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


def compare(image, labels):
    """Milliseconds by family: ours with all shared geometry paid by each, and cp_measure as it comes and with numba."""
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
        ours = fastest(lambda module=module: module.compute(Scene(image, labels), module.Settings()))
        theirs = {}
        for accelerator in (None, "numba"):
            cp_measure.set_accelerator(accelerator)
            theirs[accelerator] = fastest(
                lambda name=name, options=options: witness(name, pixels, labels, **options), 2
            )
        cp_measure.set_accelerator(None)
        row = {"family": name, "unequal": len(differing), "ours": ours * 1e3}
        rows.append({**row, "plain": theirs[None] * 1e3, "numba": theirs["numba"] * 1e3})
    whole = fastest(lambda: measure(image, labels))
    total = {key: sum(row[key] for row in rows) for key in ("plain", "numba")}
    rows.append({"family": "all, as one table", "unequal": 0, "ours": whole * 1e3, **total})
    return rows


def growth():
    """Milliseconds for the whole table against objects and pixels."""
    rows = []
    for count, side in ((100, 512), (400, 1024), (1600, 2048), (6400, 4096), (10000, 5120), (25600, 8192)):
        image, labels = nuclei(count, (side, side))
        busy = time.process_time()
        took = fastest(lambda image=image, labels=labels: measure(image, labels), 2)
        busy = (time.process_time() - busy) / 3
        every = fastest(lambda image=image, labels=labels: measure(image, labels, threads=os.cpu_count() or 1), 2)
        row = {"objects": count, "side": side, "ms": took * 1e3, "processor us an object": busy * 1e6 / count}
        rows.append({**row, "ms on all cores": every * 1e3})
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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="leave out growth and memory")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    console = Console(width=110)
    result = {}
    fields = {"240 nuclei, 1344 x 1024 uint16, synthetic": nuclei(240, (1024, 1344))}
    if (chosen.data / "nuclei").is_dir():
        fields = {"260 nuclei, 520 x 696 uint8, real": real(chosen.data), **fields}
    for title, (image, labels) in fields.items():
        rows = compare(image, labels)
        for row in rows:
            row["ratio"] = min(row["plain"], row["numba"]) / row["ours"]
        result[title] = rows
        show(console, f"ms on one core, {title}; cp_measure plain and with numba; ratio to its better", rows)
    if not chosen.quick:
        result["growth"] = growth()
        show(console, "growth: all published families", result["growth"])
        result["memory"] = memory()
        console.print(f"peak memory: {result['memory']:.1f} x the image (8192 x 8192 uint16)")
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
