"""How fast cells are cut and embedded, and what the embedding knows of phenotypes it was never told.

    python benchmarks/deep.py                     # cells a second: crops, crops and model, beside a plain PyTorch loop
    python benchmarks/deep.py --weights FILE.h5   # the same for EfficientNet-B0 (a Keras file; random weights without)
    python benchmarks/deep.py --probe             # linear probe on hand-labelled crops, grouped by image and by well
    python benchmarks/deep.py --probe --model FOLDER

Cells come from generated fields of 1344 x 1024 pixels with about 240 nuclei. The loop is what one writes first: pad the
image, slice each cell, `interpolate` it, scale it, stack. Results are compared before anything is timed.

The probe reads the crops of the MitoCheck screen in `$PHENOSTREAM_TEST_DATA/mitocheck` (default ../shared/data): 15
classes (Folded left out), our classical features on a mask by Otsu, the embedding, and both; logistic regression (L2,
C 0.03, balanced) in five folds. Labels serve here alone; the shipped network has seen none.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import tempfile
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from scipy import ndimage

from phenostream import features
from phenostream.features import CropSettings, DeepSettings, Embedder
from phenostream.features.deep.crops import Cutter
from phenostream.features.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

DATA = Path(os.environ.get("PHENOSTREAM_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def field(seed: int = 0, shape: tuple[int, int] = (1024, 1344), count: int = 240) -> tuple[NDArray[Any], NDArray[Any]]:
    """A field of textured ellipses and its labels."""
    rng = np.random.default_rng(seed)
    image, labels = np.zeros(shape, np.float32), np.zeros(shape, np.int32)
    rows, columns = 12, -(-count // 12)
    for number in range(count):
        y = (number % rows + 0.5) * shape[0] / rows + rng.uniform(-15, 15)
        x = (number // rows + 0.5) * shape[1] / columns + rng.uniform(-12, 12)
        a, b, turn = rng.uniform(9, 16), rng.uniform(9, 16), rng.uniform(0, np.pi)
        yy, xx = np.ogrid[: shape[0], : shape[1]]
        u, v = (xx - x) * np.cos(turn) + (yy - y) * np.sin(turn), (yy - y) * np.cos(turn) - (xx - x) * np.sin(turn)
        inside = (u / a) ** 2 + (v / b) ** 2 < 1
        image[inside], labels[inside] = rng.uniform(60, 180), number + 1
    texture = ndimage.gaussian_filter(rng.normal(size=shape), 1.5) * 40
    noisy = ndimage.gaussian_filter(image, 1) + texture * (labels > 0) + 20 + rng.normal(0, 2, shape)
    return noisy.clip(0, 255).astype(np.uint8), labels


def loop(image: NDArray[Any], labels: NDArray[Any], side: int, size: int) -> NDArray[np.float32]:
    """Crops by a plain loop over cells in PyTorch, scaled between their least and largest pixel inside the image."""
    import torch
    from torch.nn import functional

    numbers = np.unique(labels)[1:]
    middles = ndimage.center_of_mass(labels > 0, labels, numbers)
    padded = torch.from_numpy(np.pad(image, side).astype(np.float32))
    valid = torch.from_numpy(np.pad(np.ones_like(image), side).astype(bool))
    found = []
    for y, x in middles:
        top, left = round(y) - side // 2 + side, round(x) - side // 2 + side
        part, there = padded[top : top + side, left : left + side], valid[top : top + side, left : left + side]
        low, high = part[there].min(), part[there].max()
        scaled = torch.where(there, (part - low) / (high - low), torch.zeros(()))
        found.append(functional.interpolate(scaled[None, None], size=size, mode="bilinear", align_corners=False)[0])
    return torch.stack(found).numpy()


def seconds(act: Callable[[], Any], least: float = 2.0) -> float:
    """The best of several runs after one that is not counted."""
    act()
    best, start = np.inf, time.perf_counter()
    while time.perf_counter() - start < least:
        begun = time.perf_counter()
        act()
        best = min(best, time.perf_counter() - begun)
    return float(best)


def speed(weights: Path | None) -> None:
    """Print cells a second of cutting and of embedding."""
    image, labels = field()
    count = int(labels.max())
    print("| crops | size | plain loop | phenostream | ratio |\n|---|---|---|---|---|")
    for side, size in ((64, 64), (128, 224)):
        settings = CropSettings(box_px=side)

        def cut(settings: CropSettings = settings, size: int = size) -> NDArray[np.float32]:
            return Cutter(Scene(image, labels), settings, size, reference=27)(0, count)

        worst = float(np.abs(cut() - loop(image, labels, side, size)).max())
        if not worst < 1e-4:
            raise SystemExit(f"crops differ by {worst}")
        plain, ours = count / seconds(lambda s=side, z=size: loop(image, labels, s, z)), count / seconds(cut)
        print(f"| {side} px box | {size} | {plain:,.0f} cells/s | {ours:,.0f} cells/s | {ours / plain:.1f} |")
    print("\n| model | threads | crops and model |\n|---|---|---|")
    models = {"cellnet": "cellnet", "efficientnet": str(_efficientnet(weights))}
    for name, model in models.items():
        some = labels if name == "cellnet" else np.where(labels <= 64, labels, 0)
        for threads in (1, 2):
            embedder = Embedder(DeepSettings(model=model), threads=threads)
            rate = len(np.unique(some)[1:]) / seconds(lambda e=embedder, s=some: e.embed(image, s))
            print(f"| {name} | {threads} | {rate:,.0f} cells/s |")


def _efficientnet(weights: Path | None) -> Path:
    """A package of EfficientNet-B0: of the file's weights, or of random ones, which cost the same time."""
    import torch

    from phenostream.training import deepprofiler

    folder = Path(tempfile.mkdtemp()) / "efficientnet"
    if weights is None:
        torch.manual_seed(0)
        from phenostream.training.networks.efficientnet import EfficientNet

        network = deepprofiler.Described(EfficientNet(), torch.ones(1, 3, 1, 1), torch.zeros(1, 3, 1, 1)).eval()
        deepprofiler.write(network, folder, name="efficientnet", imported={})
    else:
        deepprofiler.import_efficientnet(weights, folder)
    return folder


def crops_of_mitocheck() -> tuple[NDArray[np.uint8], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Crops (N, 64, 64), class, image and well of each."""
    with next((DATA / "mitocheck").glob("*.csv")).open() as lines:
        rows = {row["file"]: row for row in csv.DictReader(lines)}
    crops, told = [], []
    for path in sorted((DATA / "mitocheck").glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                row = rows.get(name.rpartition("/")[2])
                if row and row["phenotype"] != "Folded":
                    crops.append(np.array(Image.open(io.BytesIO(archive.read(name)))))
                    well = f"{row['plate']} {row['well']}"
                    told.append((row["phenotype"], f"{well} {row['frame']}", well))
    return np.stack(crops), *np.array(told).T


def classical(crops: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Our default families on the object under the middle of each crop, without positions and neighbours."""
    from skimage.filters import threshold_otsu

    from phenostream.values import columns_of

    rows = []
    for crop in crops:
        smooth = ndimage.gaussian_filter(crop.astype(float), 1)
        pieces, _ = ndimage.label(ndimage.binary_fill_holes(smooth > threshold_otsu(smooth)))
        near = ndimage.distance_transform_edt(pieces == 0, return_distances=False, return_indices=True)
        own = pieces[tuple(near[:, 32, 32])]
        table = features.measure(crop, (pieces == own).astype(np.int32))
        kept = [
            one.name
            for one in columns_of(table.schema)
            if one.role == "feature" and not one.positional and one.family != "Neighbors"
        ]
        rows.append([table.column(name)[0].as_py() for name in kept])
    return np.array(rows, float)


def probe(model: str) -> None:
    """Print weighted and macro F1 by feature set and by what is kept together."""
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score
    from sklearn.model_selection import GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    crops, classes, images, wells = crops_of_mitocheck()
    deep = features.embed_crops(crops, model=model)
    plain = classical(crops)
    print(f"{len(crops):,} crops, {len(set(images))} images, {len(set(wells))} wells\n")
    print("| features | by image: weighted F1 (macro) | by well: weighted F1 (macro) |\n|---|---|---|")
    sets = {"classical": plain, "embedding": deep, "classical and embedding": np.hstack([plain, deep])}
    for name, values in sets.items():
        told = []
        for groups in (images, wells):
            guessed = np.empty(len(classes), classes.dtype)
            for learn, ask in GroupKFold(5, shuffle=True, random_state=0).split(values, classes, groups):
                rule = make_pipeline(
                    SimpleImputer(strategy="median"),
                    StandardScaler(),
                    LogisticRegression(C=0.03, max_iter=100, class_weight="balanced"),
                )
                guessed[ask] = rule.fit(values[learn], classes[learn]).predict(values[ask])
            both = [f1_score(classes, guessed, average=average) for average in ("weighted", "macro")]
            told.append("{:.3f} ({:.3f})".format(*both))
        print(f"| {name} | {' | '.join(told)} |", flush=True)
    turned = np.stack([features.embed_crops(np.rot90(crops, k, (1, 2)).copy(), model=model) for k in range(4)])
    share = turned.var(axis=0).mean(0) / np.maximum(deep.var(axis=0), 1e-12)
    middle, high = np.quantile(share, (0.5, 0.9))
    print(f"\nvariance by quarter turns, of that between cells: median {middle:.3f}, 90 % {high:.3f}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="Keras file of EfficientNet-B0")
    parser.add_argument("--probe", action="store_true", help="linear probe on labelled crops")
    parser.add_argument("--model", default="cellnet", help="package to probe")
    told = parser.parse_args()
    probe(told.model) if told.probe else speed(told.weights)


if __name__ == "__main__":
    main()
