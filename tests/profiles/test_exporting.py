"""Every format against another reader of it, and every writer against interruption."""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from phenostream.errors import DiskFullError, MissingExtraError, NotFoundError, RecipeError
from phenostream.features.presets import MITOCHECK_157
from phenostream.profiles import export, export_formats, read_profiles
from phenostream.profiles.exporters import parquet
from phenostream.values import columns_of

PUBLISHED = {f"Nuclei_{name}": "Center" in name for name in MITOCHECK_157}
LEADING = [
    "Location_Center_X", "Location_Center_Y", "Metadata_Plate", "Metadata_Well", "Metadata_Site",
    "Metadata_Plate_Map_Name", "Metadata_DNA", "Metadata_Gene", "Metadata_Gene_Replicate",
]  # fmt: skip


@pytest.fixture
def run(folder, make):
    """Five fields of the published features: three done, one failed, one with nothing in it."""
    told = {"Gene": "KIF11", "Gene_Replicate": "1", "Well_Number": "4", "Plate_Map_Name": "LT0001_02_4", "Control": "x"}
    folder.add(make("A4", 3, features=PUBLISHED), well="A4", annotation=told)
    folder.add(make("B1", 2, features=PUBLISHED), well="B1")
    folder.add(well="B2", state="failed", reason="damaged")
    folder.add(make("B3", 0, features=PUBLISHED), well="B3")
    folder.add(make("P24", 4, features=PUBLISHED), well="P24")
    return folder


def test_formats_are_the_modules():
    assert export_formats() == ["anndata", "csv", "idrstream", "parquet"]


class TestIdrstream:
    def test_columns_are_the_published_ones_in_order(self, run, tmp_path):
        export(run.path, "idrstream", tmp_path / "out", batch_size=2)
        header = gzip.decompress((tmp_path / "out" / "batch_0.csv.gz").read_bytes()).splitlines()[0].decode()
        assert header.split(",") == ["", *LEADING, *MITOCHECK_157]
        assert len(header.split(",")) == 1 + 9 + 157

    def test_rows_by_batch(self, run, tmp_path):
        written = export(run.path, "idrstream", tmp_path / "out", batch_size=2)
        assert [path.name for path in written] == ["batch_0.csv.gz", "batch_1.csv.gz", "batch_2.csv.gz"]
        tables = [pd.read_csv(path, index_col=0) for path in written]
        assert [len(table) for table in tables] == [5, 0, 4]
        first = tables[0]
        assert list(first.index) == [0, 1, 2, 3, 4]
        assert list(first["Metadata_Well"]) == ["4_50"] * 3 + ["25_50"] * 2
        assert first["Metadata_DNA"].iloc[3] == "LT0001_02/LT0001_02_25_50.tif"
        assert first["Metadata_Plate_Map_Name"].iloc[0] == "LT0001_02_4"
        assert list(first["Metadata_Gene"].fillna("")) == ["KIF11"] * 3 + [""] * 2
        assert set(first["Metadata_Gene_Replicate"]) == set(first["Metadata_Site"]) == {1}
        assert list(tables[2]["Metadata_Well"]) == ["384_50"] * 4

    def test_values_read_back_equal(self, run, make, tmp_path):
        export(run.path, "idrstream", tmp_path / "out")
        read = pd.read_csv(tmp_path / "out" / "batch_0.csv.gz", index_col=0)
        told = make("A4", 3, features=PUBLISHED)
        for name in MITOCHECK_157:
            assert np.array_equal(read[name].to_numpy(np.float32)[:3], told.column(f"Nuclei_{name}").to_numpy()), name
        assert list(read["Location_Center_X"][:3]) == [7, 17, 27]

    def test_bytes_are_the_same_each_time_without_a_clock(self, run, tmp_path):
        one = export(run.path, "idrstream", tmp_path / "one")[0].read_bytes()
        two = export(run.path, "idrstream", tmp_path / "two")[0].read_bytes()
        assert one == two
        assert int.from_bytes(one[4:8], "little") == 1  # gzip's time stamp
        assert one[8] == 4  # gzip's mark of its fastest level

    def test_outlines_as_the_text_of_an_array(self, run, tmp_path):
        export(run.path, "idrstream", tmp_path / "out", outlines=True)
        read = pd.read_csv(tmp_path / "out" / "batch_0.csv.gz", index_col=0)
        assert list(read.columns[9:11]) == ["Metadata_Object_Outline", MITOCHECK_157[0]]
        points = np.array(read["Metadata_Object_Outline"].iloc[0].replace("[", "").replace("]", "").split(), int)
        assert points.reshape(-1, 2).tolist() == [[5, 5], [9, 5], [9, 9], [5, 9]]

    def test_a_missing_feature_is_refused(self, folder, make, tmp_path):
        folder.add(make("A1"))
        with pytest.raises(NotFoundError, match="of the 157 columns"):
            export(folder.path, "idrstream", tmp_path / "out")

    def test_another_channel_can_stand_for_dna(self, folder, make, tmp_path):
        renamed = {name.replace("_DNA", "_GFP"): flag for name, flag in PUBLISHED.items()}
        folder.add(make("A1", features=renamed))
        export(folder.path, "idrstream", tmp_path / "out", channel="GFP")
        assert list(pd.read_csv(tmp_path / "out" / "batch_0.csv.gz", index_col=0).columns[9:]) == list(MITOCHECK_157)

    def test_an_earlier_export_is_replaced_and_nothing_else(self, run, tmp_path):
        export(run.path, "idrstream", tmp_path / "out", batch_size=1)
        export(run.path, "idrstream", tmp_path / "out", batch_size=10)
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["batch_0.csv.gz"]
        (tmp_path / "out" / "notes.txt").write_text("mine")
        with pytest.raises(RecipeError, match=r"notes\.txt"):
            export(run.path, "idrstream", tmp_path / "out")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "run"]

    def test_a_well_without_a_number(self, folder, make, tmp_path):
        folder.add(make("AB100", features=PUBLISHED), well="AB100")
        with pytest.raises(RecipeError, match="plate of 24 columns"):
            export(folder.path, "idrstream", tmp_path / "out")


class TestCsv:
    def test_reads_back(self, run, tmp_path):
        path = export(run.path, "csv", tmp_path / "cells.csv")[0]
        read = pd.read_csv(path, dtype={"Metadata_Site": str})
        told = read_profiles(run.path)
        kept = [name for name in told.column_names if "Outline" not in name]
        assert list(read.columns) == kept
        assert read["CellId"].tolist() == told.column("CellId").to_pylist()
        for name in PUBLISHED:
            assert np.array_equal(read[name].to_numpy(np.float32), told.column(name).to_numpy()), name

    def test_gzip_by_suffix_stream_and_outlines(self, run, tmp_path):
        path = export(run.path, "csv", tmp_path / "cells.csv.gz", outlines=True)[0]
        sink = io.BytesIO()
        export(run.path, "csv", sink, outlines=True)
        assert gzip.decompress(path.read_bytes()) == sink.getvalue()
        outline = pd.read_csv(path)["Nuclei_Outline_X"].iloc[0]
        assert json.loads(outline) == [5, 9, 9, 5]

    def test_missing_numbers_and_commas(self, folder, make, tmp_path):
        table = make("A1", 2, annotations={"gene": 'a,"b"\nc', "odd,key": "x"})
        place = table.column_names.index("Nuclei_AreaShape_Area")
        holes = pa.array([float("nan"), None], pa.float32())
        folder.add(table.set_column(place, table.schema.field(place), holes))
        read = pd.read_csv(export(folder.path, "csv", tmp_path / "c.csv")[0])
        assert read["Nuclei_AreaShape_Area"].isna().all()
        assert read["Metadata_odd,key"].tolist() == ["x", "x"]
        assert read["Metadata_gene"].tolist() == ['a,"b"\nc'] * 2

    def test_a_view(self, run, tmp_path):
        read = pd.read_csv(export(run.path, "csv", tmp_path / "c.csv", view="model")[0])
        assert list(read.columns) == ["CellId", *(name for name, positional in PUBLISHED.items() if not positional)]


class TestParquet:
    def test_one_file_same_rows_and_roles(self, run, tmp_path):
        path = export(run.path, "parquet", tmp_path / "cells.parquet")[0]
        told = read_profiles(run.path)
        assert pq.read_table(path).equals(told)
        assert columns_of(pq.read_schema(path)) == columns_of(told.schema)
        assert read_profiles(path).equals(told)

    def test_row_groups_are_gathered(self, run, tmp_path):
        path = export(run.path, "parquet", tmp_path / "cells.parquet", rows=5, outlines=False)[0]
        file = pq.ParquetFile(path)
        assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == [5, 4]
        assert "Nuclei_Outline_X" not in file.schema_arrow.names

    def test_an_unfinished_run_gives_an_empty_file(self, folder, tmp_path):
        path = export(folder.path, "parquet", tmp_path / "cells.parquet")[0]
        assert pq.read_table(path).num_rows == 0


class TestAnndata:
    def test_reads_back(self, run, tmp_path):
        anndata = pytest.importorskip("anndata")
        path = export(run.path, "anndata", tmp_path / "cells.h5ad")[0]
        read = anndata.read_h5ad(path)
        told = read_profiles(run.path)
        assert read.shape == (9, 157)
        assert read.X.dtype == np.float32
        assert np.array_equal(read.X[:, 3], told.column(list(PUBLISHED)[3]).to_numpy())
        assert list(read.obs_names) == told.column("CellId").to_pylist()
        assert list(read.obs["Metadata_Well"].astype(str)) == told.column("Metadata_Well").to_pylist()
        assert read.obsm["spatial"][1].tolist() == [17, 7]
        assert read.var.loc["Nuclei_AreaShape_Center_X", "positional"]
        assert read.var.loc["Nuclei_AreaShape_Center_X", "family"] == "AreaShape"

    def test_the_model_view(self, run, tmp_path):
        anndata = pytest.importorskip("anndata")
        read = anndata.read_h5ad(export(run.path, "anndata", tmp_path / "cells.h5ad", view="model")[0])
        assert not read.var["positional"].any()

    def test_without_anndata_the_remedy_is_the_command(self, run, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "anndata", None)
        with pytest.raises(MissingExtraError, match=r'pip install "phenostream\[profiles\]"'):
            export(run.path, "anndata", tmp_path / "cells.h5ad")

    def test_a_run_without_features(self, folder, tmp_path):
        pytest.importorskip("anndata")
        with pytest.raises(NotFoundError, match="no features"):
            export(folder.path, "anndata", tmp_path / "cells.h5ad")


def test_unknown_format_and_option(run, tmp_path):
    with pytest.raises(RecipeError, match="anndata, csv, idrstream, parquet"):
        export(run.path, "excel", tmp_path / "x")
    with pytest.raises(RecipeError, match="option 'colour'"):
        export(run.path, "csv", tmp_path / "x", colour="red")


def test_no_folder_to_write_to(run, tmp_path):
    with pytest.raises(NotFoundError, match="no folder"):
        export(run.path, "csv", tmp_path / "no" / "c.csv")


@pytest.mark.parametrize("format_", ["csv", "parquet", "idrstream"])
def test_a_full_disk_leaves_what_was_there(run, tmp_path, monkeypatch, format_):
    out = tmp_path / "out"
    export(run.path, format_, out)
    before = {path.name: path.read_bytes() for path in ([out] if out.is_file() else out.iterdir())}

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFullError, match="No space left"):
        export(run.path, format_, out)
    assert {path.name: path.read_bytes() for path in ([out] if out.is_file() else out.iterdir())} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "run"]


def test_a_broken_part_stops_the_export_without_a_file(run, tmp_path):
    part = next((run.path / "parts").rglob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-10])
    with pytest.raises(ValueError, match="is damaged"):
        export(run.path, "parquet", tmp_path / "cells.parquet")
    assert not (tmp_path / "cells.parquet").exists()


def test_gathering_never_splits_a_part(make):
    tables = [make("A1", count) for count in (3, 1, 4, 2)]
    assert [table.num_rows for table in parquet._gathered(tables, 4)] == [4, 4, 2]
