"""CellProfiler's own numbers beside ours, object by object, on published images whose masks can be had exactly.

They give ``{column: (ours, CellProfiler's)}``, arrays of one value an object.
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
from phenostream.objects import CellSettings, cells, cytoplasm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Row = dict[str, Any]
    Pairs = dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]

_SETTINGS = MeasureSettings(parameters={"intensity": {"location": True}})
_FLY_SETTINGS = MeasureSettings(
    families=("size_shape", "feret", "zernike", "intensity", "texture", "colocalization"),
    parameters={"intensity": {"location": True}},
)


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


def example_fly(folder: Path) -> dict[str, Pairs]:
    """ExampleFly in two channels, by an older CellProfiler: nuclei, cells and cytoplasms.

    22 nuclei that a threshold alone gives; the cells that propagation finds round them and the cytoplasms between,
    where the area is CellProfiler's. The other nuclei, which it cut apart, are seeds as they lie: how they are cut
    changes no border to another cell.
    """
    truth = {name: _read(folder / f"{name}.csv") for name in ("Nuclei", "Cells", "Cytoplasm")}
    matches: dict[str, list[tuple[Row, Row]]] = {name: [] for name in truth}
    with zipfile.ZipFile(folder / "examplefly_images.zip") as images:
        for image in _read(folder / "Image.csv"):
            rows = {
                name: [row for row in found if row["ImageNumber"] == image["ImageNumber"]]
                for name, found in truth.items()
            }
            for name, theirs, ours in _fly_matches(images, image, rows):
                matches[name].append((theirs, ours))
    return {name: _columns(found) for name, found in matches.items()}


def largest(pairs: Pairs) -> dict[str, float]:
    """Largest relative difference of every column; values below 1e-6 count as 1e-6. Infinite where only one is NaN."""
    return {name: _largest(ours, theirs) for name, (ours, theirs) in pairs.items()}


def _largest(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    known = ~np.isnan(theirs)
    if not np.array_equal(known, ~np.isnan(ours)):
        return np.inf
    apart = np.abs(ours - theirs)[known] / np.maximum(np.abs(theirs[known]), 1e-6)
    return float(apart.max(initial=0))


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
    if difference == np.inf:
        return "NaN"
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


def _fly_matches(images: zipfile.ZipFile, image: Row, rows: dict[str, list[Row]]) -> Iterator[tuple[str, Row, Row]]:
    """Compartment, CellProfiler's row and ours."""
    # What the pipeline crops to, and the smoothing it applies before its threshold.
    stack = np.stack(
        [
            tifffile.imread(io.BytesIO(images.read(image[f"FileName_Orig{colour}"])))[251:450, 501:700]
            for colour in ("Blue", "Green")
        ]
    )
    smooth = gaussian(stack[0].astype(np.float32) / np.float32(255), 1, mode="constant")  # type: ignore[no-untyped-call]
    mask = ndimage.binary_fill_holes(smooth >= float(image["Threshold_FinalThreshold_Nuclei"]))
    found, _ = ndimage.label(mask, np.ones((3, 3)))
    # Smaller than a disk of the pipeline's least diameter, 10 pixels: no nucleus.
    nuclei = np.where(np.bincount(found.ravel())[found] < np.pi * 25, 0, found)
    told = CellSettings(method="propagate", threshold=float(image["Threshold_FinalThreshold_Cells"]), rim=True)
    around = cells(nuclei, stack[1], told)
    labels = {"Nuclei": nuclei, "Cells": around, "Cytoplasm": cytoplasm(around, nuclei, rim=True)}
    for ours in measure(stack, labels, ["CropBlue", "CropGreen"], settings=_FLY_SETTINGS).to_pylist():
        for row in rows["Nuclei"]:
            place = abs(float(row["Location_Center_X"]) - ours["Nuclei_AreaShape_Center_X"])
            if place < 1e-6 and float(row["AreaShape_Area"]) == ours["Nuclei_AreaShape_Area"]:
                yield from _of_one_cell(row, rows, ours)


def _of_one_cell(nucleus: Row, rows: dict[str, list[Row]], ours: Row) -> Iterator[tuple[str, Row, Row]]:
    for name, parent in (("Nuclei", "ObjectNumber"), ("Cells", "Parent_Nuclei"), ("Cytoplasm", "Parent_Nuclei")):
        for row in rows[name]:
            if (
                row[parent] == nucleus["ObjectNumber"]
                and float(row["AreaShape_Area"]) == ours[f"{name}_AreaShape_Area"]
            ):
                own = {key: value for key, value in ours.items() if key.startswith(f"{name}_")}
                yield name, row, {key.removeprefix(f"{name}_").removesuffix("_256"): own[key] for key in own}


def _read(path: Path) -> list[Row]:
    with path.open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))
