"""Processor time and memory of the illumination fit, beside basicpy on the same frames.

    python benchmarks/illumination.py
    python benchmarks/illumination.py --peer-python /path/to/venv/bin/python --data ../shared/data

The peer lives in an environment of its own (``pip install --no-deps basicpy`` and its dependencies but SciPy's old
pin) and is called in a process of its own, as is the fit measured here, so that peak memory is each one's own; both on
one core. The table gives the median processor time of three fits after two to warm up, and the memory that the fits
added to a process with the frames and all libraries loaded. Where flat-fields do not agree a line says so: the ratio is
then not of the same result. Linux only (peak memory comes from /proc).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

REPEATS = 3
AGREED = 0.9
ONE_CORE = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}

OURS = """
from phenostream.images import fit_illumination
def fit(stack, darkfield):
    model = fit_illumination(stack, darkfield)
    return model.flatfield
"""
PEER = """
from basicpy import BaSiC
def fit(stack, darkfield):
    model = BaSiC(get_darkfield=darkfield)
    model.fit(stack)
    return model.flatfield
"""
MEASURE = """
import json, sys, time
import numpy as np
def peak():
    # Of this program alone: getrusage would begin with the peak of the process that started it.
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
stack = np.load(sys.argv[1])
darkfield = sys.argv[2] == "1"
fit(stack[:3, ::8, ::8].copy(), darkfield)
before = peak()
fit(stack, darkfield)
seconds = []
for _ in range(int(sys.argv[4])):
    start = time.process_time()
    flat = fit(stack, darkfield)
    seconds.append(time.process_time() - start)
np.save(sys.argv[3], np.asarray(flat))
print(json.dumps({"seconds": float(np.median(seconds)), "peak": peak(), "added": peak() - before}))
"""


def synthetic(frames: int, rows: int, columns: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Frames of blobs on a varying background under a known vignette, uint16, and the vignette."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    flat = 1 - 0.35 * ((x - 0.15) ** 2 + (y + 0.1) ** 2)
    flat /= flat.mean()
    stack = np.empty((frames, rows, columns), np.uint16)
    for frame in stack:
        light = np.full((rows, columns), 300 * np.exp(rng.normal(0, 0.2)))
        for _ in range(60):
            top, left, size = rng.integers(0, rows - 8), rng.integers(0, columns - 8), max(4, rows // 30)
            light[top : top + size, left : left + size] += rng.lognormal(6, 0.4)
        frame[:] = np.rint(np.clip(rng.poisson(light * flat), 0, 65535))
    return stack, flat


def stacks(data: Path | None) -> dict[str, np.ndarray]:
    """Synthetic stacks, and the real ones where `data` is given."""
    found = {"synthetic 50x128x128": synthetic(50, 128, 128)[0], "synthetic 48x1024x1344": synthetic(48, 1024, 1344)[0]}
    for path in sorted((data / "illumination").glob("*.npz")) if data else ():
        if "reference" not in path.stem:
            images = np.load(path)["images"][:50]
            found[f"{path.stem} {'x'.join(map(str, images.shape))}"] = images
    return found


def measure(python: str, code: str, stack: np.ndarray, *, darkfield: bool) -> tuple[dict[str, float], np.ndarray]:
    """Fit in a process of its own; its figures and its flat-field."""
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder, "stack.npy"), Path(folder, "flat.npy")
        np.save(source, stack)
        command = [python, "-c", code + MEASURE, str(source), str(int(darkfield)), str(result), str(REPEATS)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=1800, env=os.environ | ONE_CORE
        )
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        return json.loads(done.stdout.strip().splitlines()[-1]), np.load(result)


def row(name: str, stack: np.ndarray, peer: str | None, *, darkfield: bool) -> list[str]:
    """One line of the table."""
    ours, flat = measure(sys.executable, OURS, stack, darkfield=darkfield)
    cells = [
        name,
        "yes" if darkfield else "no",
        f"{ours['seconds']:.2f}",
        f"{ours['added']:.0f}",
        f"{ours['peak']:.0f}",
    ]
    if peer is None:
        return [*cells, *["not measured"] * 5]
    theirs, other = measure(peer, PEER, stack, darkfield=darkfield)
    agreement = float(np.corrcoef(flat.ravel(), np.squeeze(other).ravel())[0, 1])
    if not agreement >= AGREED:
        print(
            f"{name}: flat-fields do not agree (r = {agreement:.4f}); ratios are not of the same work", file=sys.stderr
        )
    return [
        *cells, f"{theirs['seconds']:.2f}", f"{theirs['added']:.0f}", f"{theirs['peak']:.0f}",
        f"{theirs['seconds'] / ours['seconds']:.2f}", f"{agreement:.4f}",
    ]  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", help="interpreter of an environment with basicpy")
    parser.add_argument("--data", type=Path, help="folder of real test data")
    options: Any = parser.parse_args()
    head = [
        "frames", "dark-field", "phenostream CPU s", "added MB", "peak MB", "basicpy CPU s", "added MB", "peak MB",
        "basicpy time / ours", "correlation of flat-fields",
    ]  # fmt: skip
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for name, stack in stacks(options.data).items():
        for darkfield in (False, True):
            print("| " + " | ".join(row(name, stack, options.peer_python, darkfield=darkfield)) + " |", flush=True)


if __name__ == "__main__":
    main()
