"""Hugging Face Parquet: the exam, Pillow as another decoder, and what the hub is told."""

import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from phenostream import datasets
from phenostream.errors import DamagedError, RecipeError, WrongDtypeError
from phenostream.testing.exporters import ExporterExam
from phenostream.values import Field, FieldId


class TestParquet(ExporterExam):
    settings = {"format": "huggingface", "sites_per_file": 9, "sites_per_group": 4}


def test_each_channel_is_a_png_that_others_read(pack, tmp_path):
    datasets.export(pack, tmp_path, {"format": "huggingface"})
    number = {row["site_id"]: index for index, row in enumerate(pack.table.to_pylist())}
    table = pq.read_table(tmp_path / "data" / "train-00000-of-00001.parquet")
    for row in table.to_pylist():
        planes = [np.asarray(Image.open(io.BytesIO(row[name]["bytes"]))) for name in pack.channels]
        assert np.array_equal(np.stack(planes), pack[number[row["site_id"]]])


def test_splits_are_the_datasets_and_files_are_counted(pack, tmp_path):
    told = datasets.export(pack, tmp_path, {"format": "huggingface", "sites_per_file": 20})
    train = sum(row == "train" for row in pack.table["dataset"].to_pylist())
    test = len(pack) - train
    expected = [f"data/{split}-{k:05d}-of-{-(-n // 20):05d}.parquet"
                for split, n in (("test", test), ("train", train)) for k in range(-(-n // 20))]  # fmt: skip
    assert sorted(told.files) == expected


def test_the_hub_is_told_what_columns_are(pack, tmp_path):
    told = datasets.export(pack, tmp_path, {"format": "huggingface"})
    schema = pq.read_schema(tmp_path / told.files[0])
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == schema.names
    assert features["Mito"] == {"_type": "Image"}
    assert features["sirna_id"] == {"dtype": "int64", "_type": "Value"}
    assert features["pixel_mean"]["length"] == 6


def test_what_it_cannot_hold_is_refused(tmp_path):
    site = Field.of(np.ones((1, 4, 4), np.float32) * 0.5, ("DNA",), id=FieldId(plate="P", well="A1"))
    datasets.pack([site], tmp_path / "float")
    with pytest.raises(WrongDtypeError, match="float32"):
        datasets.export(datasets.open_pack(tmp_path / "float"), tmp_path / "a", {"format": "huggingface"})
    clash = Field.of(np.ones((1, 4, 4), np.uint8), ("well",), id=FieldId(plate="P", well="A1"))
    datasets.pack([clash], tmp_path / "clash")
    with pytest.raises(RecipeError, match="'well'"):
        datasets.export(datasets.open_pack(tmp_path / "clash"), tmp_path / "b", {"format": "huggingface"})


def test_damage_is_named(pack, tmp_path):
    told = datasets.export(pack, tmp_path, {"format": "huggingface"})
    path = tmp_path / told.files[0]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DamagedError, match=path.name):
        list(datasets.read_export(tmp_path))
