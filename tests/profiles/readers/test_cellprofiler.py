"""CellProfiler's CSV and SQLite: the same cells, linked by their parents."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest

from phenostream.errors import DamagedError, NotFoundError, RecipeError
from phenostream.profiles.reading import read_foreign
from phenostream.profiles.tables import feature_names, whole, write_table

IMAGE = "ImageNumber,Metadata_Plate,Metadata_Well,Count_Cells\n1,0012,A01,2\n2,0012,A02,1\n"
CELLS = "ImageNumber,ObjectNumber,AreaShape_Area,Parent_Nuclei\n1,1,100,2\n1,2,nan,1\n2,1,300,1\n"
NUCLEI = "ImageNumber,ObjectNumber,AreaShape_Area,Children_Cells_Count\n1,1,10,1\n1,2,20,1\n1,3,30,0\n2,1,40,1\n"


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "out"
    made.mkdir()
    for name, text in (("Image", IMAGE), ("Cells", CELLS), ("Nuclei", NUCLEI)):
        (made / f"MyExpt_{name}.csv").write_text(text)
    (made / "MyExpt_Experiment.csv").write_text("Key,Value\nCellProfiler_Version,4.2.4\n")
    return made


def test_objects_are_linked_by_their_parents_and_the_lonely_counted(folder):
    source = read_foreign(folder)
    table = whole(source)
    assert table["Cells_AreaShape_Area"].to_pylist() == [100, None, 300]
    assert table["Nuclei_AreaShape_Area"].to_pylist() == [20, 10, 40]
    assert table["Metadata_Plate"].to_pylist() == ["0012"] * 3
    assert table["Metadata_Nuclei_ObjectNumber"].to_pylist() == [2, 1, 1]
    assert source.told == {"images": 2, "rows": 3, "alone": {"Cells": 0, "Nuclei": 1}}
    assert feature_names(table.schema) == ["Cells_AreaShape_Area", "Nuclei_AreaShape_Area"]


def test_folders_of_other_objects_do_not_go_together(folder):
    (folder / "2").mkdir()
    for name, text in (("Image", IMAGE), ("Nuclei", NUCLEI)):
        (folder / "2" / f"{name}.csv").write_text(text)
    with pytest.raises(DamagedError, match="one data set has Nuclei, the first Cells, Nuclei"):
        whole(read_foreign(folder))
    assert whole(read_foreign(folder, compartments=["Nuclei"])).num_rows == 8


def test_fewer_objects_and_image_columns_on_request(folder):
    table = whole(read_foreign(folder, compartments=["Nuclei"], image="all"))
    assert table.num_rows == 4
    assert table["Image_Count_Cells"].to_pylist() == [2, 2, 2, 1]
    with pytest.raises(NotFoundError, match="no table of Mito"):
        read_foreign(folder, compartments=["Mito"])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("Cells", CELLS.replace("1,2,nan", "1,1,nan"), "Cells has an object twice in image 1"),
        ("Cells", CELLS + "1,3,5,1\n", "Cells goes back from image 2 to 1"),
        ("Cells", CELLS + "3,3,5,1\n", "Cells has rows of image 3, which the image table does not have"),
        ("Cells", CELLS.replace("Parent_Nuclei", "Parent_Other"), "none of Cells, Nuclei names all the others"),
        ("Cells", CELLS.replace("100", "many"), "many"),
        ("Cells", CELLS.replace("100,2", "100,1.5"), "Cells: column 'Parent_Nuclei'.* 1.5"),
        ("Cells", CELLS.replace("1,2,nan", "1,,nan"), "Cells has a row without ObjectNumber in image 1"),
        ("Cells", CELLS + "3,3\n", "Expected 4 columns, got 2"),
        ("Cells", CELLS.replace("AreaShape_Area", "ObjectNumber"), "two columns 'ObjectNumber'"),
    ],
)
def test_damaged_tables_are_named(folder, name, text, message):
    (folder / f"MyExpt_{name}.csv").write_text(text)
    with pytest.raises(DamagedError, match=message):
        whole(read_foreign(folder))


TOLD = {  # CellProfiler's option "Add image metadata columns to your object data file"
    "Cells": "ImageNumber,ObjectNumber,Metadata_Plate,Metadata_Well,Metadata_Parent_Plate,AreaShape_Area,"
    "Parent_Nuclei\n1,1,0012,A01,P,100,2.0\n1,2,0012,A01,P,200,\n2,1,0012,A02,P,300,1.0\n",
    "Nuclei": "ImageNumber,ObjectNumber,Metadata_Plate,Metadata_Site,AreaShape_Area\n"
    "1.0,1.0,0012,3,10\n1.0,2.0,0012,3,20\n2.0,1.0,0012,4,40\n",
}


@pytest.fixture(params=["csv", "sqlite"])
def told(request, folder, tmp_path):
    """Object tables that repeat the metadata of their images, their numbers as pandas writes them beside gaps."""
    for name, text in TOLD.items():
        (folder / f"MyExpt_{name}.csv").write_text(text)
    if request.param == "csv":
        return folder
    with sqlite3.connect(tmp_path / "told.sqlite") as database:
        for name, text in {**TOLD, "Image": IMAGE}.items():
            names, *lines = (line.split(",") for line in text.splitlines())
            database.execute(f"CREATE TABLE MyExpt_{name}({', '.join(names)})")
            marks = ", ".join("?" * len(names))
            database.executemany(f"INSERT INTO MyExpt_{name} VALUES({marks})", lines)
    database.close()
    return tmp_path / "told.sqlite"


def test_metadata_of_the_image_in_an_object_table_is_no_feature(told):
    table = whole(read_foreign(told))
    assert feature_names(table.schema) == ["Cells_AreaShape_Area", "Nuclei_AreaShape_Area"]
    assert table["Cells_Metadata_Well"].to_pylist() == ["A01", "A01", "A02"]
    assert table["Cells_Metadata_Parent_Plate"].to_pylist() == ["P", "P", "P"]
    assert table["Nuclei_Metadata_Plate"].to_pylist() == ["0012", None, "0012"]
    assert table["Nuclei_Metadata_Site"].to_pylist() == ["3", None, "4"]


def test_numbers_of_objects_may_be_written_as_floats(told):
    table = whole(read_foreign(told))
    assert table["Cells_Parent_Nuclei"].to_pylist() == [2, None, 1]
    assert table["Metadata_Nuclei_ObjectNumber"].to_pylist() == [2, None, 1]
    assert table["Nuclei_AreaShape_Area"].to_pylist() == [20, None, 40]
    assert {str(table[name].type) for name in ("Cells_Parent_Nuclei", "Metadata_ImageNumber")} == {"int64"}


def test_csv_equals_sqlite_on_real_tables(data):
    place = data / "fields" / "cytominer_database"
    one = whole(read_foreign(place / "data_a", image="all"))
    two = whole(read_foreign(place / "data_a_sqlite" / "data_a.sqlite", image="all"))
    assert one.shape == two.shape == (40, 1087)
    assert one.column_names == two.column_names
    assert all(one[name].to_pylist() == two[name].to_pylist() for name in one.column_names)


def test_real_tables_hold_what_cellprofiler_wrote(data):
    import pandas as pd

    folder = data / "fields" / "examplefly"
    table = whole(read_foreign(folder)).to_pandas()
    nuclei = pd.read_csv(folder / "Nuclei.csv", float_precision="round_trip").set_index(["ImageNumber", "ObjectNumber"])
    own = nuclei.loc[list(zip(table["Metadata_ImageNumber"], table["Cytoplasm_Parent_Nuclei"], strict=True))]
    for name in ("AreaShape_Area", "Intensity_MeanIntensity_CropBlue", "Location_Center_X"):
        np.testing.assert_array_equal(table[f"Nuclei_{name}"], own[name])
    health = read_foreign(data / "fields" / "cytominer_database" / "Cell-Health" / "test-SQ00014613.sqlite")
    assert whole(health).shape == (12, 1813)
    assert set(whole(health)["Metadata_Plate"].to_pylist()) == {"SQ00014613"}


def test_a_sqlite_file_of_several_runs(tmp_path):
    with sqlite3.connect(tmp_path / "two.sqlite") as database:
        database.execute("CREATE TABLE Image(TableNumber INT, ImageNumber INT, Metadata_Well TEXT)")
        database.execute(
            "CREATE TABLE Nuclei(TableNumber INT, ImageNumber INT, ObjectNumber INT, Nuclei_AreaShape_Area)"
        )
        database.executemany("INSERT INTO Image VALUES(?,?,?)", [(7, 1, "A1"), (8, 1, "A2")])
        database.executemany("INSERT INTO Nuclei VALUES(?,?,?,?)", [(8, 1, 2, "nan"), (8, 1, 1, 5), (7, 1, 1, 3.5)])
    database.close()
    table = whole(read_foreign(tmp_path / "two.sqlite"))
    assert table["Metadata_Well"].to_pylist() == ["A1", "A2", "A2"]
    assert table["Nuclei_AreaShape_Area"].to_pylist() == [3.5, 5, None]
    with sqlite3.connect(tmp_path / "two.sqlite") as database:
        database.execute("UPDATE Nuclei SET Nuclei_AreaShape_Area = 'wide'")
    database.close()
    with pytest.raises(DamagedError, match="wide"):
        whole(read_foreign(tmp_path / "two.sqlite"))


def test_files_that_are_something_else(tmp_path):
    (tmp_path / "no.sqlite").write_bytes(b"SQLite format 3\0" + b"\xff" * 500)
    with pytest.raises(DamagedError, match="cannot be read"):
        read_foreign(tmp_path / "no.sqlite")
    (tmp_path / "x.bin").write_bytes(b"x")
    with pytest.raises(RecipeError, match="cannot tell what"):
        read_foreign(tmp_path / "x.bin")
    with pytest.raises(NotFoundError, match="nothing at"):
        read_foreign(tmp_path / "none")
    with pytest.raises(RecipeError, match="no profile format"):
        read_foreign(tmp_path / "x.bin", "excel")


def test_imported_once_the_schema_says_the_roles(folder, tmp_path):
    from phenostream.profiles.tables import open_table

    write_table(read_foreign(folder), tmp_path / "cells.parquet")
    assert feature_names(open_table(tmp_path / "cells.parquet").schema()) == [
        "Cells_AreaShape_Area", "Nuclei_AreaShape_Area",
    ]  # fmt: skip
