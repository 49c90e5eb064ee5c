"""Tiles beside the whole image beside a plain ONNX Runtime loop: time, peak memory, and how far apart they are.

    python benchmarks/inference.py [--side 2048] [--width 16] [--threads 2] [--repeats 3]

Each line is a process of its own, so that peaks do not mix; memory is what the peak grows by while predicting. The
plain loop is what one writes without this room: windows of the same size without overlap, no halo, whence its seams.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def peak_mb() -> float:
    told = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(told["VmHWM"].split()[0]) / 1000


def image_of(side: int) -> np.ndarray:
    return np.random.default_rng(0).random((1, side, side), np.float32)


def plain(folder: str, image: np.ndarray, window: int, threads: int):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(f"{folder}/model.onnx", options, providers=["CPUExecutionProvider"])
    side = image.shape[1]

    def predict() -> np.ndarray:
        found = np.empty((2, side, side), np.float32)
        for y in range(0, side, window):
            for x in range(0, side, window):
                part = image[None, :, y : y + window, x : x + window]
                found[:, y : y + window, x : x + window] = session.run(["map"], {"image": part})[0][0]
        return found

    return predict


def ours(folder: str, image: np.ndarray, threads: int, **named):
    from phenostream import inference

    model = inference.load(folder, device="cpu", threads=threads)
    _ = model.cost
    return lambda: model.predict(image, **named)["map"]


def one(folder: str, kind: str, value: float, side: int, threads: int, repeats: int) -> dict[str, float]:
    image = image_of(side)
    if kind == "plain":
        predict = plain(folder, image, int(value), threads)
    elif kind == "whole":
        predict = ours(folder, image, threads, tile=side)
    elif kind == "tile":
        predict = ours(folder, image, threads, tile=int(value))
    else:
        predict = ours(folder, image, threads, memory_mb=value)
    before = peak_mb()
    seconds = []
    for _ in range(repeats):
        found = None  # what was found before must not count
        start = time.perf_counter()
        found = predict()
        seconds.append(time.perf_counter() - start)
    np.save(f"{folder}/{kind}-{value:g}.npy", found)
    return {"seconds": min(seconds), "mb": peak_mb() - before - found.nbytes / 1e6}


def main() -> None:
    told = argparse.ArgumentParser(description=__doc__)
    for name, default in (("side", 2048), ("width", 16), ("threads", 2), ("repeats", 3)):
        told.add_argument(f"--{name}", type=int, default=default)
    told.add_argument("--child", nargs=3, default=None)
    options = told.parse_args()
    if options.child:
        folder, kind, value = options.child
        print(json.dumps(one(folder, kind, float(value), options.side, options.threads, options.repeats)))
        return
    from phenostream.testing.packages import small_package

    with tempfile.TemporaryDirectory() as scratch:
        package = small_package(Path(scratch) / "net", kernel=3, width=options.width, levels=3)
        lines = [("whole", 0), ("tile", 512), ("tile", 1024), ("memory", 128), ("memory", 512), ("plain", options.side),
                 ("plain", 512)]  # fmt: skip
        halo = package.description.outputs[0].space[0].halo
        print(f"{options.side} x {options.side} pixels, three poolings, {options.width} channels, halo {halo},")
        print(f"{options.threads} threads, best of {options.repeats}\n")
        print("| | s | Mpixel/s | MB over image, model, result | furthest from the whole |\n|---|---|---|---|---|")
        for kind, value in lines:
            command = [sys.executable, __file__, "--child", str(package.folder), kind, str(value)]
            command += [f"--{name}={getattr(options, name)}" for name in ("side", "width", "threads", "repeats")]
            got = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            whole, found = (np.load(package.folder / f"{name}.npy") for name in ("whole-0", f"{kind}-{value:g}"))
            words = {
                "whole": "whole image",
                "tile": f"tiles of {value}",
                "memory": f"cap of {value} MB",
                "plain": "plain ONNX Runtime, " + ("whole" if value == options.side else f"windows of {value}"),
            }
            rate, apart = options.side**2 / got["seconds"] / 1e6, np.abs(whole - found).max()
            print(f"| {words[kind]} | {got['seconds']:.2f} | {rate:.2f} | {got['mb']:.0f} | {apart:.1e} |", flush=True)


if __name__ == "__main__":
    main()
