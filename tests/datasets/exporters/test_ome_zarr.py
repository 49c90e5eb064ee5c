"""OME-Zarr plates: the exam, and Zarr itself."""

import numpy as np
import pytest
import zarr

from phenostream import datasets
from phenostream.errors import RecipeError
from phenostream.testing.exporters import ExporterExam
from phenostream.values import Field, FieldId


class TestNewest(ExporterExam):
    settings = {"format": "ome_zarr"}


@pytest.mark.slow
class TestZarr2(ExporterExam):
    settings = {"format": "ome_zarr", "version": "0.4", "levels": 2}


def test_plates_open_in_zarr_with_their_wells(pack, tmp_path):
    datasets.export(pack, tmp_path, {"format": "ome_zarr"})
    for row, _ in datasets.read_export(tmp_path):
        image = zarr.open_group(tmp_path / row["file"], mode="r")[f"{row['key']}/0"]
        number = pack.table["site_id"].to_pylist().index(row["site_id"])
        assert np.array_equal(image[0, :, 0], pack[number])
    plate = zarr.open_group(tmp_path / "HUVEC-01_1.zarr", mode="r").attrs["ome"]["plate"]
    wells = {row["well"] for row in pack.table.to_pylist() if row["plate"] == "HUVEC-01_1"}
    assert {well["path"].replace("/", "") for well in plate["wells"]} == wells


def test_what_has_no_place_on_a_plate_is_refused(tmp_path):
    for name, one in {"movie": FieldId(plate="P", well="A1", time=1), "nowhere": FieldId(plate="P")}.items():
        datasets.pack([Field.of(np.ones((1, 4, 4), np.uint8), id=one)], tmp_path / name)
        with pytest.raises(RecipeError):
            datasets.export(datasets.open_pack(tmp_path / name), tmp_path / f"{name}-out", {"format": "ome_zarr"})
