"""How well and how fast nuclei are segmented, beside plain Otsu and watershed, on real images with instance masks.

    python benchmarks/segmentation.py             # the shipped rule: table of AP and of seconds
    python benchmarks/segmentation.py --folds     # rule learnt on one half of the images, tested on the other, twice
    python benchmarks/segmentation.py --learn     # print the joining rule learnt on all images

Data: the fluorescence nuclei of BBBC038 as `train/images/*.tif` and `train/masks/*.tif` in zip files in
`$PHENOSTREAM_TEST_DATA/nuclei` (default ../shared/data). AP = TP / (TP + FP + FN) at an intersection over union of more
than 0.50 to 0.90; from 0.5 on a match is unique without an assignment. The mean is over images, pooled is over objects.
"""

from __future__ import annotations

import argparse
import io
import os
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tifffile
from scipy import ndimage, optimize
from skimage.draw import ellipse
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

from phenostream.objects import classical, relabel
from phenostream.objects.grid import repeat
from phenostream.objects.joining import FEATURES, Pairs, Rule, join

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Labels = NDArray[np.int32]
    Method = Callable[[NDArray[Any]], Labels]

THRESHOLDS = np.arange(50, 91, 5) / 100
LEAST = -0.28  # log odds at which pairs are joined: a wrong split costs more than a wrong join
_DATA = Path(os.environ.get("PHENOSTREAM_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


class Example(NamedTuple):
    """An image (Y, X) and its instance mask."""

    image: NDArray[Any]
    truth: Labels


def load(folder: Path) -> list[Example]:
    """All images of the zip files in `folder`, in the order of their names."""
    found: dict[str, dict[str, NDArray[Any]]] = {}
    for path in sorted(folder.glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".tif"):
                    kind, stem = name.split("/")[-2:]
                    found.setdefault(stem, {})[kind] = tifffile.imread(io.BytesIO(archive.read(name)))
    return [Example(pair["images"], pair["masks"].astype(np.int32)) for _, pair in sorted(found.items())]


def counts(truth: Labels, found: Labels) -> NDArray[np.int64]:
    """True positives, false positives, false negatives (3, 9) at every threshold."""
    width = int(found.max(initial=0)) + 1
    joint = np.bincount(truth.ravel().astype(np.int64) * width + found.ravel(), minlength=(truth.max() + 1) * width)
    table = joint.reshape(-1, width)
    own, other = table.sum(axis=1), table.sum(axis=0)
    i, j = np.nonzero(table[1:, 1:])
    shared = table[i + 1, j + 1]
    overlap = shared / (own[i + 1] + other[j + 1] - shared)
    hits = (overlap[:, None] > THRESHOLDS).sum(axis=0)
    return np.stack([hits, (other[1:] > 0).sum() - hits, (own[1:] > 0).sum() - hits])


def otsu_watershed(image: NDArray[Any]) -> Labels:
    """The peer: Otsu's threshold and a watershed of the distance map, as in the gallery of scikit-image."""
    smooth = ndimage.gaussian_filter(image.astype(np.float32), 1)
    if smooth.max() == smooth.min():
        return np.zeros(image.shape, np.int32)
    inside = ndimage.binary_fill_holes(smooth > threshold_otsu(smooth))
    depth = ndimage.gaussian_filter(ndimage.distance_transform_edt(inside), 1)
    peaks = peak_local_max(depth, min_distance=5, labels=ndimage.label(inside)[0], exclude_border=False)
    seeds = np.zeros(image.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels = watershed(-depth, seeds, mask=inside)
    return relabel(np.where(np.bincount(labels.ravel())[labels] >= 20, labels, 0))


class Score(NamedTuple):
    """Counts (N, 3, 9) of N images and the seconds of each."""

    counts: NDArray[np.int64]
    seconds: NDArray[np.float64]

    def line(self, name: str) -> str:
        """One row of the table."""
        each = self.counts[:, 0] / np.maximum(self.counts.sum(axis=1), 1)
        total = self.counts.sum(axis=0)
        pooled = total[0] / total.sum(axis=0)
        cells = [*each.mean(axis=0), each.mean(), pooled[0], pooled.mean()]
        return f"| {name} | " + " | ".join(f"{cell:.3f}" for cell in cells) + f" | {1e3 * self.seconds.mean():.0f} |"


def scored(method: Method, examples: Sequence[Example]) -> Score:
    """What `method` finds in `examples`."""
    rows, seconds = [], []
    for example in examples:
        start = time.process_time()
        found = method(example.image)
        seconds.append(time.process_time() - start)
        rows.append(counts(example.truth, found))
    return Score(np.array(rows), np.array(seconds))


def pairs_of(example: Example) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Features of neighbouring fragments on the way to the truth, and whether they belong to one nucleus."""
    found = classical.fragments_of(example.image, None)
    if found is None:
        return np.zeros((0, len(FEATURES))), np.zeros(0, np.bool_)
    cut, size, factor = found[:3]
    owner = _majority(repeat(cut.fragments, factor, example.truth.shape), example.truth)
    rows, same = [], []

    def oracle(pairs: Pairs) -> NDArray[np.float64]:
        one, other = owner[pairs.one], owner[pairs.other]
        known = (one > 0) & (other > 0)
        rows.append(pairs.features()[known])
        same.append((one == other)[known])
        order = np.random.default_rng(one.size).uniform(0.5, 1, one.size)
        return np.where(known & (one == other), order, -1.0)

    join(cut.fragments, cut.bright, cut.smooth, cut.depth, size / factor, rule=oracle)
    return (np.concatenate(rows), np.concatenate(same)) if rows else pairs_of(Example(np.zeros((1, 1)), example.truth))


def _majority(fragments: Labels, truth: Labels) -> NDArray[np.int64]:
    """The nucleus that covers most of each fragment, 0 where none covers 55 %."""
    shape = int(fragments.max()) + 1, int(truth.max()) + 1
    table = np.bincount(fragments.ravel() * shape[1] + truth.ravel(), minlength=shape[0] * shape[1]).reshape(shape)
    return np.where(table.max(axis=1) >= 0.55 * np.maximum(table.sum(axis=1), 1), table.argmax(axis=1), 0)


def learn(examples: Sequence[Example]) -> Rule:
    """The logistic rule of least loss; an image with many pairs counts as the square root of their number."""
    known = [pairs_of(example) for example in examples]
    rows, same = np.concatenate([row for row, _ in known]), np.concatenate([told for _, told in known])
    weight = np.concatenate([np.full(told.size, (20 + told.size) ** -0.5) for _, told in known])
    middle, spread = rows.mean(axis=0), rows.std(axis=0)
    design = np.column_stack([np.ones(same.size), (rows - middle) / spread])
    sign, weight = 2.0 * same - 1, weight / weight.sum()

    def loss(beta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = design @ beta * sign
        slope = -(weight * sign / (1 + np.exp(np.clip(margin, -500, 500)))) @ design
        penalty = np.r_[0, beta[1:]]
        return float(weight @ np.logaddexp(0, -margin) + 1e-3 * penalty @ penalty), slope + 2e-3 * penalty

    beta = optimize.minimize(loss, np.zeros(design.shape[1]), jac=True, method="L-BFGS-B").x
    weights = beta[1:] / spread
    return Rule(float(beta[0] - weights @ middle), tuple(float(value) for value in weights), LEAST)


def crossed(examples: Sequence[Example]) -> Score:
    """Rule learnt on every second image, tested on the others; both ways."""
    halves = examples[::2], examples[1::2]
    scores = []
    for teach, test in (halves, halves[::-1]):
        rule = learn(teach)
        scores.append(scored(lambda image, rule=rule: classical.label_nuclei(image, rule=rule), test))
    return Score(*(np.concatenate(parts) for parts in zip(*scores, strict=True)))


def screen(count: int = 240) -> NDArray[np.uint16]:
    """A made-up field of 1024 x 1344 pixels with `count` nuclei about 26 pixels wide."""
    rng = np.random.default_rng(0)
    image = np.full((1024, 1344), 200.0)
    for y, x in zip(rng.uniform(0, 1024, count), rng.uniform(0, 1344, count), strict=True):
        axes = rng.uniform(11, 16, 2)
        image[ellipse(y, x, *axes, shape=image.shape, rotation=rng.uniform(0, 3))] += rng.uniform(300, 1500)
    return rng.poisson(ndimage.gaussian_filter(image, 1.5)).astype(np.uint16)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=_DATA / "nuclei")
    parser.add_argument("--folds", action="store_true")
    parser.add_argument("--learn", action="store_true")
    told = parser.parse_args()
    examples = load(told.data)
    if told.learn:
        print(learn(examples))
        return
    names = " | ".join(f"AP {threshold:.2f}" for threshold in THRESHOLDS)
    print(f"{len(examples)} images, {sum(len(np.unique(e.truth)) - 1 for e in examples)} nuclei")
    print(f"| method | {names} | mean | pooled 0.50 | pooled mean | ms an image |\n|---{'|---' * 13}|")
    print(scored(otsu_watershed, examples).line("Otsu and watershed"))
    if told.folds:
        print(crossed(examples).line("classical, two folds"))
    else:
        print(scored(classical.label_nuclei, examples).line("classical, shipped rule"))
    field = screen()
    for name, method in (("Otsu and watershed", otsu_watershed), ("classical", classical.label_nuclei)):
        spent = []
        for _ in range(5):
            start = time.process_time()
            found = method(field)
            spent.append(time.process_time() - start)
        print(f"{name}: {min(spent):.3f} s for 1024 x 1344 pixels, {found.max()} objects of 240, one core")


if __name__ == "__main__":
    main()
