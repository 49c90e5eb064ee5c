"""How fast the shipped segmenter is beside the code of StarDist and Cellpose: speed only, for no weights are at hand.

    python benchmarks/segmenter_speed.py --stardist /venv-stardist/bin/python --cellpose /venv-cellpose/bin/python

Each is given the same made-up field of 1024 x 1344 pixels with 240 nuclei (`synthetic.field`) and the same cores
(`--cores`, all by default), in turns. A network's speed does not depend on its weights, what follows it does: so
StarDist and Cellpose run their network with weights as drawn, and then what turns its answer into objects on the answer
that a perfect network would give, made by their own code from the true labels. Ours and the classical method run as
they are shipped. Each tells how many objects it found and how like the truth they are; seconds are by the clock, and of
the processor in brackets, the least of the rounds.

StarDist: the shape of `2D_versatile_fluo` (32 rays, grid 2 x 2). Cellpose 3: the shape of `nuclei`, diameter 30 px.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from segmentation import counts

from phenostream import synthetic

if TYPE_CHECKING:
    from collections.abc import Sequence

_TIMED = """
import json, sys, time
import numpy as np
file = np.load(sys.argv[1])
image, truth = file["image"], file["truth"]

def timed(work):
    work()
    wall, spent = time.perf_counter(), time.process_time()
    found = work()
    print(json.dumps([time.perf_counter() - wall, time.process_time() - spent, int(found.max())]))
    np.save(sys.argv[2], found)
"""

_OURS = """
import phenostream
timed(lambda: phenostream.segment(image, model="{model}"))
"""

_STARDIST = """
from csbdeep.utils import normalize
from stardist.geometry import star_dist
from stardist.models import Config2D, StarDist2D
from stardist.utils import edt_prob

model = StarDist2D(Config2D(n_rays=32, grid=(2, 2), n_channel_in=1), name=None, basedir=None)
seen = edt_prob(truth)[::2, ::2], star_dist(truth, 32, grid=(2, 2))

def work():
    model.predict(normalize(image.astype(np.float32), 1, 99.8))
    labels, _ = model._instances_from_prediction(image.shape, *seen, prob_thresh=0.5, nms_thresh=0.4)
    return labels

timed(work)
"""

_CELLPOSE = """
import tempfile
import torch
from cellpose import dynamics, models, resnet_torch

torch.manual_seed(0)
weights = tempfile.NamedTemporaryFile(suffix="_cellpose")
resnet_torch.CPnet([2, 32, 64, 128, 256], 3, sz=3, diam_mean=30.0).save_model(weights.name)
model = models.CellposeModel(gpu=False, pretrained_model=weights.name)
flows = dynamics.labels_to_flows([truth], device=torch.device("cpu"))[0]
towards, inside = flows[2:4] * 5, np.where(flows[0] > 0, 6.0, -6.0).astype(np.float32)

def work():
    model.eval(image, channels=[0, 0], diameter=30.0, compute_masks=False)
    return dynamics.resize_and_compute_masks(towards, inside, niter=200, device=model.device).astype(np.int32)

timed(work)
"""


def run(python: str, text: str, scene: Path, cores: Sequence[int]) -> tuple[list[float], np.ndarray[Any, Any]]:
    """Seconds, seconds of processor and number of objects of one method; and the label image that it found."""
    answer = scene.with_name("found.npy")
    few = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "OMP_NUM_THREADS": str(len(cores))}
    ended = subprocess.run(
        [python, "-W", "ignore", "-c", _TIMED + text, str(scene), str(answer)],
        env=os.environ | few, capture_output=True, text=True, check=False, preexec_fn=lambda: _pin(cores),
    )  # fmt: skip
    if ended.returncode:
        raise SystemExit(f"{python} failed:\n{ended.stderr[-2000:]}")
    return json.loads(ended.stdout.splitlines()[-1]), np.load(answer)


def _pin(cores: Sequence[int]) -> None:
    os.sched_setaffinity(0, cores)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stardist", help="Python that has stardist and tensorflow")
    parser.add_argument("--cellpose", help="Python that has cellpose 3")
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    told = parser.parse_args()
    scene = synthetic.field(np.random.default_rng(0), n=240)
    ours = {name: (sys.executable, _OURS.format(model=name)) for name in ("nuclei", "classical")}
    peers = {"StarDist": (told.stardist, _STARDIST), "Cellpose 3": (told.cellpose, _CELLPOSE)}
    known = ours | {name: peer for name, peer in peers.items() if peer[0]}
    cores = sorted(os.sched_getaffinity(0))[: told.cores]
    spent: dict[str, list[list[float]]] = {name: [] for name in known}
    alike: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scene.npz"
        np.savez(file, image=scene.image[0], truth=scene.labels)
        for _ in range(told.rounds):
            for name, (python, text) in known.items():
                seconds, found = run(python, text, file, cores)
                spent[name].append(seconds)
                hit, extra, missed = counts(scene.labels, found.astype(np.int32))[:, 0]
                alike[name] = hit / (hit + extra + missed)
    print(f"| {len(cores)} cores, 1024 x 1344 px | s | (processor) | beside ours | objects | AP 0.50 |")
    print("|---|---|---|---|---|---|")
    base = min(one[0] for one in spent["nuclei"])
    for name, runs in spent.items():
        wall, processor = (min(one[place] for one in runs) for place in (0, 1))
        print(f"| {name} | {wall:.2f} | {processor:.2f} | {wall / base:.1f} | {runs[0][2]:.0f} | {alike[name]:.2f} |")


if __name__ == "__main__":
    main()
