"""From a generated screen to scores on unseen experiments: processor time of each step, accuracy, trivial baselines.

    OMP_NUM_THREADS=1 python benchmarks/screens.py [--seeds 3] [--networks resnet convnext] [--json FILE]

Every seed is another screen (effects, batches, layout) and another fit, under one recipe that is not tuned to any of
them: twelve experiments of two cell types, half of them unseen, twelve perturbations, brightness spread 16-fold.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch

from phenostream import datasets, training
from phenostream.benchmark.scoring import score
from phenostream.synthetic.screen import ScreenDesign, fields
from phenostream.training.classification.applying import write_embeddings

RECIPE = Path(__file__).parents[1] / "recipes" / "screen.yaml"
SHAPES = {"resnet": "{depth: 18, width: 16, stem: small}", "convnext": "{size: atto, patch: 2}"}


def design(seed: int) -> ScreenDesign:
    names = tuple(f"{kind}-{number:02d}" for kind in ("HUVEC", "RPE") for number in range(1, 7))
    return ScreenDesign(experiments=names, test_experiments=tuple(n for n in names if int(n[-2:]) > 3), seed=seed)


def measure(seed: int, network: str, normalise: str, folder: Path) -> dict[str, object]:
    spent, began = {}, time.process_time()

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
    lap("train and export")
    write_embeddings(told.folder / "package", datasets.open_pack(folder / "pack"), folder / "t.parquet", threads=1)
    lap("embed")
    found = score(folder / "t.parquet")
    lap("score")
    return {"network": network, "normalise": normalise, "seed": seed, "seconds": spent, "scores": found}


def row(told: dict) -> str:
    accuracy, embedding = told["scores"]["accuracy"], told["scores"]["embedding"]

    def shown(one: dict) -> str:
        return f"{one['value']:.2f} ({one['low']:.2f}-{one['high']:.2f})"

    cells = [
        told["network"], told["normalise"], str(told["seed"]), shown(accuracy["site"]["top1"]),
        shown(accuracy["well"]["top1"]), shown(accuracy["baselines"]["brightness"]),
        f"{accuracy['baselines']['plate_mean']['value']:.2f}", f"{accuracy['baselines']['chance']['value']:.2f}",
        shown(embedding["model"]["tvn"]["retrieval"]), f"{sum(told['seconds'].values()):.0f}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--networks", nargs="+", default=["resnet"], choices=sorted(SHAPES))
    parser.add_argument("--normalise", nargs="+", default=["plate"], choices=["plate", "site", "screen"])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    heads = "network, normalise, seed, site, well, brightness alone, plate mean, chance, retrieval mAP with TVN, CPU s"
    print(f"| {heads.replace(', ', ' | ')} |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for network in given.networks:
        for normalise in given.normalise:
            for seed in range(given.seeds):
                with tempfile.TemporaryDirectory() as folder:
                    found.append(measure(seed, network, normalise, Path(folder)))
                print(row(found[-1]), flush=True)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
