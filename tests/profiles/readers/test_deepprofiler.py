"""DeepProfiler's files, without unpickling."""

from __future__ import annotations

import os

import numpy as np
import pytest

from phenostream.errors import DamagedError, HostileError, NotFoundError, TooLargeError
from phenostream.profiles.readers import deepprofiler
from phenostream.profiles.reading import read_foreign
from phenostream.profiles.tables import feature_names, whole

TOLD = {"Metadata_Plate": "LT0001_02", "Metadata_Well": "15_50", "Metadata_Site": 1, "Metadata_Model": "efficientnet",
        "Gene": "KIF11", "Metadata_Dose": np.float64(0.5), "Metadata_Count": np.int32(7)}  # fmt: skip


def image(path, rows=3, width=4, metadata=TOLD, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    features = np.arange(rows * width, dtype=np.float32).reshape(rows, width)
    arrays = {"features": features, "locations": np.arange(rows * 2).reshape(rows, 2), **more}
    if metadata is not None:
        arrays["metadata"] = np.array(metadata, dtype=object)
    np.savez_compressed(path, **arrays)


def test_features_places_and_metadata(tmp_path):
    image(tmp_path / "LT0001_02" / "15_50_1.npz")
    image(tmp_path / "LT0001_02" / "16_50_1.npz", rows=2, metadata=TOLD | {"Metadata_Well": "16_50"})
    source = read_foreign(tmp_path)
    table = whole(source)
    assert source.count() == table.num_rows == 5
    assert feature_names(table.schema) == [f"efficientnet_{place}" for place in range(4)]
    assert table["Metadata_Well"].to_pylist() == ["15_50"] * 3 + ["16_50"] * 2
    assert table["Metadata_Gene"][0].as_py() == "KIF11"
    assert table["Metadata_Dose"][0].as_py() == "0.5"
    assert table["Metadata_Count"][0].as_py() == "7"
    assert table["Metadata_Site"][0].as_py() == "1"
    assert table["efficientnet_1"].to_pylist() == [1, 5, 9, 1, 5]
    assert table["Location_Center_Y"].to_pylist() == [1, 3, 5, 1, 3]


def test_without_metadata_the_path_says_where_it_is(tmp_path):
    image(tmp_path / "P1" / "A01_3.npz", metadata=None)
    table = whole(read_foreign(tmp_path / "P1" / "A01_3.npz", prefix="cnn"))
    assert table.select(["Metadata_Plate", "Metadata_Well", "Metadata_Site"]).to_pylist()[0] == {
        "Metadata_Plate": "P1", "Metadata_Well": "A01", "Metadata_Site": "3",
    }  # fmt: skip
    assert "cnn_0" in table.column_names


@pytest.mark.parametrize("shape", [(0,), (0, 0), (0, 4)])
@pytest.mark.parametrize("place", ["10_1", "20_1"])
def test_an_image_without_cells_is_counted(tmp_path, place, shape):
    """DeepProfiler keeps what it has of an image, an empty list; the first file may be such a one."""
    image(tmp_path / "P" / "15_1.npz")
    image(tmp_path / "P" / f"{place}.npz", features=np.zeros(shape), locations=np.zeros(shape[:1]))
    source = read_foreign(tmp_path)
    table = whole(source)
    assert source.count() == table.num_rows == 3
    assert table["efficientnet_3"].to_pylist() == [3, 7, 11]
    assert source.told == {"images": 2, "without_cells": 1}


def test_images_without_any_cells(tmp_path):
    image(tmp_path / "P" / "15_1.npz", features=np.zeros(0), locations=np.zeros(0))
    table = whole(read_foreign(tmp_path))
    assert table.num_rows == 0
    assert "Metadata_Gene" in table.column_names


def test_metadata_that_some_files_lack_is_missing_there(tmp_path):
    image(tmp_path / "P" / "A_1.npz", 1, metadata={"Metadata_Site": None, "Gene": None, "Dose": np.float64("nan")})
    image(tmp_path / "P" / "A_2.npz", 1, metadata={"Gene": "KIF11", "Dose": 0.5, "Metadata_Model": "cnn"})
    image(tmp_path / "P" / "A_3.npz", 1, metadata={"Dose": float("nan"), "Batch": 3})
    table = whole(read_foreign(tmp_path))
    assert table["Metadata_Gene"].to_pylist() == [None, "KIF11", None]
    assert table["Metadata_Dose"].to_pylist() == [None, "0.5", None]
    assert table["Metadata_Batch"].to_pylist() == [None, None, "3"]
    assert table["Metadata_Site"].to_pylist() == ["1", "2", "3"]
    assert feature_names(table.schema)[0] == "cnn_0"


def test_too_many_keys_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(deepprofiler, "MAX_KEYS", 20)
    for place in range(3):
        image(tmp_path / "P" / f"A_{place}.npz", metadata={f"k{place}_{number}": 1 for number in range(8)})
    with pytest.raises(TooLargeError, match="over 20"):
        read_foreign(tmp_path)


class _Bomb:
    def __reduce__(self):
        return os.mkdir, ("was-called",)


def test_a_pickle_that_would_call_something_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image(tmp_path / "P" / "A_1.npz", metadata={"Metadata_Plate": _Bomb()})
    with pytest.raises(HostileError, match="mkdir"):
        read_foreign(tmp_path / "P" / "A_1.npz")
    image(tmp_path / "P" / "A_1.npz", metadata=[_Bomb(), _Bomb()])
    assert whole(read_foreign(tmp_path / "P" / "A_1.npz")).num_rows == 3
    assert not (tmp_path / "was-called").exists()


def test_a_header_that_claims_more_than_there_is(tmp_path):
    import io
    import zipfile

    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 1280)})
    with zipfile.ZipFile(tmp_path / "A_1.npz", "w") as file:
        file.writestr("features.npy", stream.getvalue() + b"\0" * 64)
    with pytest.raises(DamagedError, match="claims"):
        read_foreign(tmp_path / "A_1.npz")


def test_a_pickled_feature_array_is_refused(tmp_path):
    image(tmp_path / "P" / "A_1.npz", features=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DamagedError, match="features"):
        read_foreign(tmp_path)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"features": np.zeros((3, 4), "U3")}, "not numbers"),
        ({"locations": np.zeros((2, 2))}, "features .* and locations"),
        ({"metadata": {"a": [1, 2]}}, "not a plain value"),
        ({"metadata": ["a", "b"]}, ""),
    ],
)
def test_other_shapes_and_types_are_named(tmp_path, more, message):
    image(tmp_path / "P" / "A_1.npz", **more)
    if message:
        with pytest.raises(DamagedError, match=message):
            whole(read_foreign(tmp_path))
    else:
        assert whole(read_foreign(tmp_path))["Metadata_Plate"][0].as_py() == "P"


def test_damage_and_files_that_do_not_fit_together(tmp_path):
    image(tmp_path / "P" / "A_1.npz")
    image(tmp_path / "P" / "A_2.npz", width=5)
    with pytest.raises(DamagedError, match="5 features, the first file with cells 4"):
        whole(read_foreign(tmp_path))
    content = (tmp_path / "P" / "A_1.npz").read_bytes()
    (tmp_path / "P" / "A_1.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(DamagedError, match="A_1"):
        read_foreign(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFoundError, match=r"no \.npz"):
        read_foreign(tmp_path / "empty", "deepprofiler")
