"""Real images, whole, through `run`: a 96-well plate of two channels, and a CellH5 movie with its own regions."""

from __future__ import annotations

import zipfile
from pathlib import Path

import h5py
import numpy as np
import pyarrow.compute as pc
import pytest

import phenostream
from phenostream.stream import Inline, Processes, failures, run


@pytest.mark.slow
def test_a_whole_plate_of_two_channels(data: Path, tmp_path: Path) -> None:
    for archive in sorted((data / "fields" / "sbs_plate").glob("*.zip")):
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(tmp_path / "images")
    asked = {
        "source": {
            "catalog": "folder",
            "base": str(tmp_path / "images"),
            "preset": "sbs",
            "metadata": str(data / "fields" / "sbs_plate" / "1049_Metadata.csv"),
        },
        "correct": {"method": "basic"},
        "segment": {"model": "classical", "channel": "DNA"},
        "stream": {"disk_budget": "60MB"},
    }
    told = phenostream.run(asked, tmp_path / "run", executor=Processes(2))
    assert (told.inputs, told.done, told.rejected, told.failed) == (96, 96, 0, 0)
    assert told.peak_disk <= 60_000_000
    assert (tmp_path / "run" / "report.html").stat().st_size > 100_000
    cells = phenostream.read_profiles(tmp_path / "run")
    wells = cells.group_by("Metadata_Well").aggregate([("CellId", "count")])
    assert wells.num_rows == 96
    assert 80 < np.median(wells["CellId_count"]) < 400
    # Only rows A and B have the second channel: there it is measured, elsewhere it is null, and nothing is invented.
    rows = pc.utf8_slice_codeunits(cells["Metadata_Well"], 0, 1)
    measured = pc.is_valid(cells["Nuclei_Intensity_MeanIntensity_GFP"])
    assert measured.equals(pc.is_in(rows, value_set=pc.unique(rows).take([0, 1])))
    # The assay's known effect: GFP goes into the nucleus with the dose (wells of column 12 get the most).
    both = cells.filter(measured)
    gfp = np.asarray(both["Nuclei_Intensity_MeanIntensity_GFP"])
    dose = np.asarray(both["Metadata_SBS_Doses"].cast("float64"))
    assert gfp[dose == dose.max()].mean() > 1.1 * gfp[dose == 0].mean()


@pytest.mark.slow
def test_a_whole_movie_with_the_regions_in_its_file(data: Path, tmp_path: Path) -> None:
    asked = {
        "source": {"catalog": "folder", "base": str(data / "cellh5")},
        "correct": {"method": "none"},
        "segment": {"model": "own_regions"},
        "measure": {"families": ["size_shape", "intensity"]},
    }
    told = run(asked, tmp_path / "run", executor=Inline())
    assert failures(told.folder) == []
    assert (told.inputs, told.done, told.rows) == (21, 21, 677)
    cells = phenostream.read_profiles(told.folder)
    with h5py.File(data / "cellh5" / "00001_01.ch5") as file:
        position = _only(file["sample/0/plate"], "experiment", "position")
        region = next(iter(position["feature"]))
        centres = position[f"feature/{region}/center"][()]
        frames = position[f"object/{region}"][()]["time_idx"]
    assert np.array_equal(np.bincount(frames), np.bincount(np.asarray(cells["Metadata_Frame"]) - 1))
    ours = np.stack([np.asarray(cells["Nuclei_Location_Center_X"]), np.asarray(cells["Nuclei_Location_Center_Y"])], 1)
    told_x_y = np.stack([centres["x"], centres["y"]], 1).astype(float)
    for frame in range(21):
        mine, theirs = ours[np.asarray(cells["Metadata_Frame"]) == frame + 1], told_x_y[frames == frame]
        order = [np.lexsort(np.rint(points).T) for points in (mine, theirs)]
        assert np.abs(mine[order[0]] - theirs[order[1]]).max() <= 1.0


def _only(group: h5py.Group, *inner: str) -> h5py.Group:
    """The one child at each level below `group`."""
    for name in (*inner, None):
        (child,) = group.values()
        group = child[name] if name else child
    return group
