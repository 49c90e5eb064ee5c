"""From a generated screen to scores on unseen experiments: time of each step, accuracy, trivial baselines.

    python benchmarks/screens.py [--seeds 3] [--networks resnet convnext efficientnet] [--threads 2] [--json FILE]

Every seed is another screen (effects, batches, layout) and another fit, under one recipe that is not tuned to any of
them: twelve experiments of two cell types, half of them unseen, twelve perturbations, brightness spread 16-fold. Clock
time means something on a quiet machine alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch

from phenostream import datasets, training
from phenostream.benchmark.scoring import score
from phenostream.synthetic.screen import ScreenDesign, fields
from phenostream.training.classification.applying import write_embeddings

RECIPE = Path(__file__).parents[1] / "recipes" / "screen.yaml"
SHAPES = {
    "resnet": "{depth: 18, width: 16, stem: small}",
    "convnext": "{size: atto, patch: 2}",
    "efficientnet": "{size: b0, stem: paper}",
}
HEADS = (
    "network", "normalise", "seed", "site", "well", "brightness alone", "plate mean", "chance",
    "retrieval mAP with TVN", "CPU s", "clock s",
)  # fmt: skip


def design(seed: int) -> ScreenDesign:
    names = tuple(f"{kind}-{number:02d}" for kind in ("HUVEC", "RPE") for number in range(1, 7))
    return ScreenDesign(experiments=names, test_experiments=tuple(n for n in names if int(n[-2:]) > 3), seed=seed)


def measure(seed: int, network: str, normalise: str, folder: Path, threads: int) -> dict[str, object]:
    spent, clock, began = {}, time.perf_counter(), time.process_time()

    def lap(name: str) -> None:
        nonlocal began
        now = time.process_time()
        spent[name], began = round(now - began, 1), now

    datasets.pack(fields(design(seed)), folder / "pack")
    lap("generate and pack")
    overrides = [
        f"settings.pack={folder / 'pack'}", f"settings.network={network}", f"settings.shape={SHAPES[network]}",
        f"settings.normalise={normalise}", f"seed={seed}",
    ]  # fmt: skip
    told = training.train(RECIPE, folder / "fit", overrides=overrides, device="cpu")
    lap("load, train and export")
    pack = datasets.open_pack(folder / "pack")
    write_embeddings(told.folder / "package", pack, folder / "t.parquet", threads=threads)
    lap("load and embed")
    found = score(folder / "t.parquet")
    lap("score")
    clock = time.perf_counter() - clock
    return {"network": network, "normalise": normalise, "seed": seed, "seconds": spent, "clock": clock, "scores": found}


def row(told: dict) -> str:
    accuracy, embedding = told["scores"]["accuracy"], told["scores"]["embedding"]

    def shown(one: dict) -> str:
        return f"{one['value']:.2f} ({one['low']:.2f}-{one['high']:.2f})"

    cells = [
        told["network"], told["normalise"], str(told["seed"]), shown(accuracy["site"]["top1"]),
        shown(accuracy["well"]["top1"]), shown(accuracy["baselines"]["brightness"]),
        f"{accuracy['baselines']['plate_mean']['value']:.2f}", f"{accuracy['baselines']['chance']['value']:.2f}",
        shown(embedding["model"]["tvn"]["retrieval"]), f"{sum(told['seconds'].values()):.0f}",
        f"{told['clock']:.0f}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def spread(found: list[dict]) -> str:
    """Mean and range over the seeds of one network."""

    def shown(name: str, *path: str) -> str:
        values = []
        for one in found:
            told = one["scores"]
            for key in path:
                told = told[key]
            values.append(told["value"])
        return f"{name} {statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"

    told = (
        shown("site", "accuracy", "site", "top1"), shown("well", "accuracy", "well", "top1"),
        shown("with plate groups and assignment", "accuracy", "layout_informed", "plate_groups_and_assignment"),
        shown("brightness alone", "accuracy", "baselines", "brightness"),
        shown("retrieval mAP raw", "embedding", "model", "raw", "retrieval"),
        shown("with TVN", "embedding", "model", "tvn", "retrieval"),
        shown("by chance", "embedding", "chance", "raw", "retrieval"),
    )  # fmt: skip
    return f"{found[0]['network']}, {found[0]['normalise']}, {len(found)} seeds: {', '.join(told)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--networks", nargs="+", default=["resnet"], choices=sorted(SHAPES))
    parser.add_argument("--normalise", nargs="+", default=["plate"], choices=["plate", "site", "screen"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    found: list[dict] = []
    print(f"| {' | '.join(HEADS)} |\n{'|---' * len(HEADS)}|")
    for network in given.networks:
        for normalise in given.normalise:
            for seed in range(given.seeds):
                with tempfile.TemporaryDirectory() as folder:
                    found.append(measure(seed, network, normalise, Path(folder), given.threads))
                print(row(found[-1]), flush=True)
    print()
    for number in range(0, len(found), given.seeds):
        print(spread(found[number : number + given.seeds]))
        for one in found[number : number + given.seeds]:
            print(f"  seed {one['seed']}, CPU s: {one['seconds']}")
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
