"""CSV, Parquet, idrstream's batches and AnnData."""

from __future__ import annotations

import gzip
import sys

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.sparse import csr_matrix

from phenostream.errors import DamagedError, HostileError, TooLargeError
from phenostream.profiles import export, read_profiles
from phenostream.profiles.exporters.csv import lines
from phenostream.profiles.readers import anndata as reader
from phenostream.profiles.reading import read_foreign
from phenostream.profiles.tables import Held, feature_names, whole, write_table
from phenostream.values import columns_of


def test_a_csv_keeps_text_and_missing_values(tmp_path):
    (tmp_path / "p.csv").write_text(
        "Metadata_Plate,Cells_AreaShape_Area,Cells_Texture_Entropy_DNA_3_00_256,score\n0012,1,nan,x\n0013,2.5,,y\n"
    )
    table = whole(read_foreign(tmp_path / "p.csv"))
    assert table["Metadata_Plate"].to_pylist() == ["0012", "0013"]
    assert table["Cells_AreaShape_Area"].to_pylist() == [1, 2.5]
    assert table["Cells_Texture_Entropy_DNA_3_00_256"].null_count == 2
    assert feature_names(table.schema) == ["Cells_AreaShape_Area", "Cells_Texture_Entropy_DNA_3_00_256"]
    with pytest.raises(DamagedError, match="invalid value 'x'"):
        whole(read_foreign(tmp_path / "p.csv", features=["score"]))


def test_a_plain_parquet_table_is_read_by_its_names(tmp_path):
    frame = pd.DataFrame({"Metadata_Well": ["A1"], "Cells_AreaShape_Area": [1], "Cells_Text": ["x"], "extra": [2.0]})
    frame.to_parquet(tmp_path / "p.parquet")
    table = whole(read_foreign(tmp_path / "p.parquet", features=["extra"]))
    assert feature_names(table.schema) == ["Cells_AreaShape_Area", "extra"]


def test_metadata_behind_a_compartment_is_no_feature(tmp_path):
    frame = pd.DataFrame({"Nuclei_Metadata_Plate": [12], "Nuclei_Metadata_Site": [3.0], "Nuclei_AreaShape_Area": [1.0]})
    frame.to_parquet(tmp_path / "p.parquet")
    frame.to_csv(tmp_path / "p.csv", index=False)
    for name in ("p.parquet", "p.csv"):
        assert feature_names(read_foreign(tmp_path / name).schema()) == ["Nuclei_AreaShape_Area"]
    assert whole(read_foreign(tmp_path / "p.csv"))["Nuclei_Metadata_Plate"].to_pylist() == ["12"]


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", DamagedError, "no header"),
        (b"a,a\n1,2\n", DamagedError, "two columns"),
        (b"\xff\xfe\x00,\n", DamagedError, "not a CSV"),
        (b"a,b\n1\n", DamagedError, "Expected 2 columns, got 1"),
        (b"a" * (65 << 20), TooLargeError, "64 MiB"),
        (b"a,b\n" + b"1" * (20 << 20), HostileError, "row of more than"),
        (b'a,b\n1,"x' + b"2,3\n" * (4 << 20), HostileError, "is a quote left open"),
        (b",".join(b"c%d" % place for place in range(100_001)) + b"\n", TooLargeError, "100001 columns"),
    ],
)
def test_bad_csv_is_named(tmp_path, content, error, message):
    (tmp_path / "p.csv").write_bytes(content)
    with pytest.raises(error, match=message):
        whole(read_foreign(tmp_path / "p.csv"))


def test_a_header_alone_is_a_table_without_rows(tmp_path):
    (tmp_path / "p.csv").write_text("Metadata_Well,Cells_AreaShape_Area\n")
    assert whole(read_foreign(tmp_path / "p.csv")).num_rows == 0


def test_a_cut_gzip_file_is_damage(tmp_path):
    packed = gzip.compress(b"Metadata_Well,Cells_AreaShape_Area\n" + b"A1,1.5\n" * 1000)
    (tmp_path / "p.csv.gz").write_bytes(packed[:-20])
    with pytest.raises(DamagedError, match="damaged"):
        whole(read_foreign(tmp_path / "p.csv.gz"))


def test_batches_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 2):
        text = (
            f",Metadata_Plate,Metadata_Well,Location_Center_X,AreaShape_Area,efficientnet_3\n0,P,15_{number},1,2,.5\n"
        )
        (tmp_path / f"batch_{number}.csv.gz").write_bytes(gzip.compress(text.encode()))
    table = whole(read_foreign(tmp_path))
    assert table["Metadata_Well"].to_pylist() == ["15_2", "15_10"]
    assert feature_names(table.schema) == ["AreaShape_Area", "efficientnet_3"]
    assert "" not in table.column_names


def test_outlines_with_line_breaks_across_the_blocks(tmp_path):
    """Three blocks of outlines as idrstream and this package write them: an edge lies inside one."""
    rng = np.random.default_rng(0)
    few = [np.array2string(rng.integers(0, 1344, (500 + place, 2)), threshold=sys.maxsize) for place in range(30)]
    outlines = few * 90
    assert sum(map(len, outlines)) > 16 << 20
    areas = np.arange(2700.0)
    table = pa.table({"": range(2700), "Metadata_Object_Outline": outlines, "AreaShape_Area": areas})
    with gzip.open(tmp_path / "batch_0.csv.gz", "wb", compresslevel=1) as file:
        lines(table, file, header=True)
    pieces = list(read_foreign(tmp_path).tables())
    assert len(pieces) > 2
    read = pa.concat_tables(pieces)
    assert read["Metadata_Object_Outline"].to_pylist() == outlines
    assert read["AreaShape_Area"].to_pylist() == areas.tolist()


def test_real_profiles_of_wells(data):
    table = whole(read_foreign(data / "fields" / "profiles_bbbc021" / "ljosa_jbiomolscreen_2013_per_well_mean.csv.gz"))
    assert table.num_rows == 632
    place = data / "fields" / "profiles_bbbc021" / "ljosa_jbiomolscreen_2013_per_well_mean.csv.gz"
    frame = pd.read_csv(place, float_precision="round_trip")
    for name in feature_names(table.schema):
        np.testing.assert_array_equal(table[name].to_numpy(), frame[name].to_numpy(float))


def test_what_is_exported_as_anndata_comes_back(folder, make, tmp_path):
    pytest.importorskip("anndata")
    folder.add(make("A4", 5), well="A4")
    folder.add(make("A5", 4), well="A5")
    export(folder.path, "anndata", tmp_path / "cells.h5ad")
    whole_run = read_profiles(folder.path)
    source = read_foreign(tmp_path / "cells.h5ad")
    table = whole(source)
    assert source.count() == 9
    assert table["CellId"].equals(whole_run["CellId"])
    told = {column.name: column for column in columns_of(whole_run.schema) if column.role == "feature"}
    back = {column.name: column for column in columns_of(table.schema) if column.role == "feature"}
    assert back == told
    for name in told:
        np.testing.assert_array_equal(table[name].to_numpy(), whole_run[name].to_numpy())
    (tmp_path / "no.h5ad").write_bytes(b"no")
    with pytest.raises(DamagedError, match="no AnnData"):
        read_foreign(tmp_path / "no.h5ad")


@pytest.mark.parametrize("sparse", [False, True])
def test_anndata_of_others_is_read_piece_by_piece(tmp_path, monkeypatch, sparse):
    anndata = pytest.importorskip("anndata")
    monkeypatch.setattr(reader, "_ROWS", 4)
    values = np.round(np.random.default_rng(0).normal(size=(10, 2)), 2).astype(np.float32)
    obs = pd.DataFrame(
        {
            "plate": pd.Categorical(["P1"] * 6 + [None] + ["P2"] * 3),
            "dose": [0.5, np.nan, *range(8)],
            "count": np.arange(10),
            "good": [True, False] * 5,
            "batch": pd.array([1, None] * 5, dtype="Int32"),
            "note": [f"n{row}" for row in range(10)],
        },
        index=[f"cell{row}" for row in range(10)],
    )
    var = pd.DataFrame(index=["Cells_AreaShape_Area", "Cells_Texture_Entropy_DNA"])
    anndata.AnnData(csr_matrix(values) if sparse else values, obs, var).write_h5ad(tmp_path / "cells.h5ad")
    source = read_foreign(tmp_path / "cells.h5ad")
    pieces = list(source.tables())
    assert [piece.num_rows for piece in pieces] == [4, 4, 2]
    table = whole(source)
    assert table.schema.equals(source.schema())
    assert feature_names(table.schema) == list(var.index)
    np.testing.assert_array_equal(np.column_stack([table[name].to_numpy() for name in var.index]), values)
    assert table["CellId"].to_pylist() == list(obs.index)
    assert table["plate"].to_pylist() == ["P1"] * 6 + [None] + ["P2"] * 3
    assert table["dose"].to_pylist() == [0.5, None, *range(8)]
    assert table["batch"].to_pylist() == [1, None] * 5
    for name in ("count", "good", "note"):
        assert table[name].to_pylist() == obs[name].tolist()
    assert source.count() == 10


def test_obs_that_is_no_table_is_named(tmp_path):
    anndata = pytest.importorskip("anndata")
    anndata.AnnData(np.ones((2, 1)), pd.DataFrame({"a": [1, 2]}, index=["x", "y"])).write_h5ad(tmp_path / "c.h5ad")
    with h5py.File(tmp_path / "c.h5ad", "r+") as file:
        file["obs/a"].attrs["encoding-type"] = "awkward-array"
    with pytest.raises(DamagedError, match="obs/a is of the kind awkward-array"):
        read_foreign(tmp_path / "c.h5ad")
    with h5py.File(tmp_path / "c.h5ad", "r+") as file:
        del file["obs"].attrs["encoding-type"]
    with pytest.raises(DamagedError, match=r"before 0\.7"):
        read_foreign(tmp_path / "c.h5ad")


def test_a_run_folder_is_known_too(folder, make, tmp_path):
    folder.add(make("A4", 5), well="A4")
    assert whole(read_foreign(folder.path)).equals(read_profiles(folder.path))
    write_table(
        Held(read_profiles(folder.path).drop_columns(["Nuclei_Outline_X", "Nuclei_Outline_Y"])), tmp_path / "c.parquet"
    )
    assert feature_names(read_foreign(tmp_path / "c.parquet").schema()) == [
        "Nuclei_AreaShape_Area", "Nuclei_Intensity_MeanIntensity_DNA",
    ]  # fmt: skip
