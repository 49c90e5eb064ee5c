"""CellProfiler's own numbers beside ours, object by object, on published images whose masks can be had exactly.

Both give ``{column: (ours, CellProfiler's)}``, arrays of one value an object.
"""

from __future__ import annotations

import csv
import io
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from scipy import ndimage
from skimage.filters import gaussian
from skimage.io import imread

from phenostream.features import MeasureSettings, measure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Row = dict[str, Any]
    Pairs = dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]

_SETTINGS = MeasureSettings(parameters={"intensity": {"location": True}})


def example_human(folder: Path) -> Pairs:
    """121 nuclei of ExampleHuman in two channels, by CellProfiler 4.0.6."""
    image = np.stack([imread(folder / f"AS_09125_050116030001_D03f00d{c}.tif") for c in (0, 1)])
    labels = imread(folder / "nuclei_labels_recovered_even.png")
    table = measure(image, labels, ["DNA", "PH3"], settings=_SETTINGS)
    rows = {int(row["ObjectNumber"]): row for row in _read(folder / "Nuclei_even_objects.csv")}
    matches = [
        (rows[ours["ObjectNumber"]], {name.removeprefix("Nuclei_"): value for name, value in ours.items()})
        for ours in table.to_pylist()
    ]
    return _columns(matches)


def example_fly(folder: Path) -> Pairs:
    """22 nuclei of ExampleFly that a threshold alone gives, in two channels, by CellProfiler 2."""
    truth = _read(folder / "Nuclei.csv")
    matches: list[tuple[Row, Row]] = []
    with zipfile.ZipFile(folder / "examplefly_images.zip") as images:
        for image in _read(folder / "Image.csv"):
            rows = [row for row in truth if row["ImageNumber"] == image["ImageNumber"]]
            matches += _fly_matches(images, image, rows)
    return _columns(matches)


def largest(pairs: Pairs) -> dict[str, float]:
    """Largest relative difference of every column; values below 1e-6 count as 1e-6."""
    return {
        name: float(np.max(np.abs(ours - theirs) / np.maximum(np.abs(theirs), 1e-6)))
        for name, (ours, theirs) in pairs.items()
    }


def table_of_differences(sets: dict[str, Pairs]) -> str:
    """The largest relative difference of every column in every set, as a Markdown table."""
    found = {name: largest(pairs) for name, pairs in sets.items()}
    columns = sorted({column for each in found.values() for column in each})
    lines = [f"| column | {' | '.join(found)} |", "|---" * (1 + len(found)) + "|"]
    for column in columns:
        cells = [_words(each[column]) if column in each else "" for each in found.values()]
        lines.append(f"| `{column}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _words(difference: float) -> str:
    """Steps wide enough to be the same on every machine."""
    if difference == 0:
        return "equal"
    step = next((f"< {bound}" for bound in ("1e-12", "1e-9", "1e-6") if difference < float(bound)), None)
    return step or f"{difference:.0e}"


def _columns(matches: list[tuple[Row, Row]]) -> Pairs:
    shared = [name for name in matches[0][1] if name in matches[0][0] and name != "ObjectNumber"]
    return {
        name: (
            np.array([ours[name] for _, ours in matches], float),
            np.array([float(theirs[name]) for theirs, _ in matches]),
        )
        for name in shared
    }


def _fly_matches(images: zipfile.ZipFile, image: Row, rows: list[Row]) -> Iterator[tuple[Row, Row]]:
    # What the pipeline crops to, and the smoothing it applies before its threshold.
    stack = [
        tifffile.imread(io.BytesIO(images.read(image[f"FileName_Orig{colour}"])))[251:450, 501:700]
        for colour in ("Blue", "Green")
    ]
    smooth = gaussian(stack[0].astype(np.float32) / np.float32(255), 1, mode="constant")  # type: ignore[no-untyped-call]
    mask = ndimage.binary_fill_holes(smooth >= float(image["Threshold_FinalThreshold_Nuclei"]))
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    table = measure(np.stack(stack), labels, ["CropBlue", "CropGreen"], settings=_SETTINGS)
    for record in table.to_pylist():
        ours = {name.removeprefix("Nuclei_").removesuffix("_256"): value for name, value in record.items()}
        for row in rows:
            same = abs(float(row["Location_Center_X"]) - ours["AreaShape_Center_X"]) < 1e-6
            if same and float(row["AreaShape_Area"]) == ours["AreaShape_Area"]:
                yield row, ours


def _read(path: Path) -> list[Row]:
    with path.open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))
