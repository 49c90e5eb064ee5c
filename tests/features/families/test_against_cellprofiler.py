"""CellProfiler's own numbers, object by object, on images whose masks could be recovered exactly."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage
from skimage.io import imread

from phenostream import measure
from phenostream.features import MeasureSettings
from phenostream.features.settings import PUBLISHED
from phenostream.testing.cellprofiler import example_fly, example_human, largest, table_of_differences


@pytest.fixture(scope="module")
def human(data):
    return example_human(data / "fields" / "examplehuman")


@pytest.fixture(scope="module")
def flies(data):
    return example_fly(data / "fields" / "examplefly")


@pytest.fixture(scope="module")
def fly(flies):
    return flies["Nuclei"]


def read(path):
    with path.open() as lines:
        return list(csv.DictReader(lines))


# CellProfiler 4.0.6 wrote the orientation in radians and the solidity of an older convex hull; which of several equally
# bright pixels is the brightest is left to chance there.
OTHER_DEFINITION = {"AreaShape_Orientation", "AreaShape_Solidity"}


def test_human_shapes(human):
    found = {name: value for name, value in largest(human).items() if name.startswith("AreaShape")}
    assert len(found) == 54
    assert [name for name, value in found.items() if value > 1e-9 and name not in OTHER_DEFINITION] == []
    ours, theirs = human["AreaShape_Orientation"]
    assert np.allclose(ours, np.rad2deg(theirs), atol=1e-9)


def test_human_intensities(human):
    found = {
        name: value for name, value in largest(human).items() if name.startswith(("Intensity", "Location_CenterMass"))
    }
    assert len(found) == 34
    assert max(value for name, value in found.items() if "MAD" not in name and "Mass" not in name) < 1e-12
    assert max(found.values()) < 1e-6


def test_fly_objects_are_found(fly):
    assert len(fly["AreaShape_Area"][0]) == 22


def test_fly_textures(fly):
    found = {name: value for name, value in largest(fly).items() if name.startswith("Texture")}
    assert len(found) == 52
    assert max(found.values()) < 1e-12


def test_fly_intensities_and_zernikes(fly):
    found = largest(fly)
    assert max(value for name, value in found.items() if name.startswith("Intensity")) < 1e-6
    assert max(value for name, value in found.items() if "Zernike" in name) < 1e-12
    same = (
        "Area",
        "EulerNumber",
        "Extent",
        "MaxFeretDiameter",
        "MinFeretDiameter",
        "MaximumRadius",
        "MeanRadius",
        "MedianRadius",
    )
    assert max(found[f"AreaShape_{name}"] for name in same) < 1e-12


def test_fly_colocalisation(fly):
    found = {name: value for name, value in largest(fly).items() if name.startswith("Correlation")}
    assert len(found) == 10
    # Ranks are over the pixels of all nuclei, of which some masks are unknown.
    assert max(value for name, value in found.items() if "RWC" not in name and "Costes" not in name) < 1e-6
    assert max(value for name, value in found.items() if "RWC" in name) < 1e-3


def test_fly_whole_images(data):
    """What CellProfiler says of whole images is what we say of one object that fills them."""
    folder = data / "fields" / "examplefly"
    with zipfile.ZipFile(folder / "examplefly_images.zip") as images:
        for row in read(folder / "Image.csv"):
            stack = np.stack(
                [
                    tifffile.imread(io.BytesIO(images.read(row[f"FileName_Orig{colour}"])))[251:450, 501:700]
                    for colour in ("Blue", "Green")
                ]
            )
            # CellProfiler leaves out dark pixels in objects, but not in whole images.
            families = ["colocalization", "texture"] if stack[0].all() else ["colocalization"]
            table = measure(stack, np.ones(stack.shape[1:], int), ["CropBlue", "CropGreen"], families)
            ours = {
                name.removeprefix("Nuclei_").removesuffix("_256"): table[name][0].as_py() for name in table.schema.names
            }
            shared = [name for name in ours if name in row and "Costes" not in name]
            assert len(shared) == (8 if len(families) == 1 else 8 + 52)
            for name in shared:
                # Some were written with six digits only.
                loose = 5e-6 if len(row[name]) < 10 else 1e-6
                assert ours[name] == pytest.approx(float(row[name]), rel=loose), name


@pytest.mark.parametrize("name", ["Cells", "Cytoplasm"])
def test_fly_compartments(flies, name):
    """Propagation finds CellProfiler's cells to the pixel, so that all that is measured in them is the same."""
    pairs = flies[name]
    assert len(pairs["AreaShape_Area"][0]) == 20
    found = largest(pairs)
    same = [key for key in found if key.startswith("Texture") or "Zernike" in key or "Feret" in key]
    assert len(same) == 52 + 30 + 2
    assert max(found[key] for key in same) < 1e-12
    intensities = [key for key in found if key.startswith("Intensity")]
    assert len(intensities) == 15
    assert max(found[key] for key in intensities) < 1e-6
    assert max(found[f"AreaShape_{key}"] for key in ("EulerNumber", "Extent")) < 1e-12


def test_human_table_of_cp_measure(data):
    """426 columns that cp_measure 0.3 gave for the same nuclei, in two channels, in double precision."""
    folder = data / "fields" / "examplehuman"
    with gzip.open(folder / "cp_measure_0.3.0_nuclei_even.csv.gz", "rt") as lines:
        rows = list(csv.DictReader(lines))
    image = np.stack([imread(folder / f"AS_09125_050116030001_D03f00d{c}.tif") for c in (0, 1)])
    labels = imread(folder / "nuclei_labels_recovered_even.png")
    chosen = MeasureSettings(
        families=(*PUBLISHED, "radial_zernike"),
        parameters={"size_shape": {"moments": True}, "intensity": {"location": True, "quantiles": "numpy"}},
    )
    table = measure(image, labels, ["DNA", "PH3"], settings=chosen)
    ours = {name.removeprefix("Nuclei_"): table[name].to_numpy() for name in table.column_names}
    same = 0
    for key in rows[0]:
        name = next((name for name in _our_names(*key.split("__")) if name in ours), None)
        if name:
            theirs = np.array([float(row[key] or "nan") for row in rows])
            # Single precision in our intensities; moments of up to 1e6 that are zero by symmetry.
            loose = 2e-5 if name.startswith("Intensity") else 1e-6
            assert np.allclose(ours[name], theirs, rtol=loose, atol=1e-8, equal_nan=True), name
            same += 1
    assert same == 426


def _our_names(family, name="", channel=""):
    head, _, rest = name.partition("_")
    yield f"AreaShape_{name}"
    yield f"{name}_{channel}"
    yield f"Texture_{head}_{channel}_{rest}"
    yield f"{head}_{rest.split('_')[0]}_{channel}_{'_'.join(rest.split('_')[1:])}"


@pytest.mark.parametrize("field", ["B7_01_1_3_DAPI_001", "D6_01_1_2_DAPI_001"])
def test_nf1_neighbours_and_shapes(data, field):
    # The masks kept with these images are 8 and 22 pixels larger than what CellProfiler 4.2.4 measured.
    folder = data / "fields" / "nf1"
    mask = tifffile.imread(folder / "Plate_2_masks" / f"{field}_MaskNuclei.tiff")
    labels, count = ndimage.label(mask > 0, np.ones((3, 3)))
    row = next(
        row for row in read(folder / "cellprofiler_measured_cells.csv") if row["Image_FileName_DAPI"] == f"{field}.tif"
    )
    assert count == int(row["Image_Count_Nuclei"])
    table = measure(mask, labels, families=["size_shape", "feret", "zernike", "neighbors"])
    ours = table.to_pylist()[int(row["Metadata_Nuclei_Number_Object_Number"]) - 1]
    shared = {name: (ours[name], float(row[name])) for name in table.column_names if name in row}
    assert len(shared) == 23 + 2 + 30 + 7
    for name, (value, theirs) in shared.items():
        if "ObjectNumber" in name or "Touching" in name or "NumberOf" in name or "Euler" in name:
            assert value == theirs, name
        else:
            loose = {"Neighbors": (0, 0.06), "Zernike": (0, 5e-3)}
            rtol, atol = next((bounds for word, bounds in loose.items() if word in name), (0.018, 0))
            assert value == pytest.approx(theirs, rel=rtol, abs=atol), name


def test_the_page_of_differences_is_up_to_date(human, flies):
    page = (Path(__file__).resolve().parents[3] / "docs" / "parity.md").read_text(encoding="utf-8")
    assert (
        table_of_differences({"ExampleHuman": human, **{f"ExampleFly {name}": pairs for name, pairs in flies.items()}})
        in page
    )
