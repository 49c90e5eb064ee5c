"""The IDR catalog: on the real tables, with Python's own csv module as the witness, and on broken ones."""

from __future__ import annotations

import csv
import gzip
import io
import time
import zipfile
from collections import Counter

import pytest

from phenostream.errors import RecipeError
from phenostream.sources.catalogs import idr
from phenostream.values import Container, Field

COLUMNS = "Plate,Well,Frames,Well Number,Control Type,Original Gene Target,Plate_Map_Name,Gene_Replicate,Site,DNA"
HEADER = f",{COLUMNS}".replace(",", "\t")
ROW = "0\tLT0001_02\tA4\t50\t4\tpositive control\tKIF11\tLT0001_02_4\t1\t1\tLT0001_02/LT0001_02_4_50.tif"
UUID = "729ccf2c-9301-47f7-9eb9-b8c1eeeee5cf"
SCREEN = "LT0001_02--ex2005_11_16--sp2005_02_17--tt17--c3"


@pytest.fixture
def tables(tmp_path):
    (tmp_path / "idr0013.csv").write_text(f"idr0013/LT0001_02.ome.zarr,S-BIAD865/{UUID},18761\r\n")
    (tmp_path / "plates.tsv").write_text(f"LT0001_02\t../screens/{SCREEN}.screen\n")
    return tmp_path


def settings(folder, **more):
    told = {"filesets": (folder / "idr0013.csv",), "plates_lists": (folder / "plates.tsv",), **more}
    return idr.Settings(**told)


def listed(folder, *rows, header=HEADER, name="list.tsv", **more):
    (folder / name).write_text("\n".join((header, *rows)) + "\n")
    return list(idr.units(settings(folder, work_list=folder / name, **more), None))


def annotated(folder, *rows, **more):
    header = "Plate,Well,Well Number,Control Type,Original Gene Target,Gene Symbol,Plate Issues,Channels"
    (folder / "annotation.csv").write_text("\n".join((header, *rows)) + "\n")
    return list(idr.units(settings(folder, annotation=folder / "annotation.csv", **more), None))


# the real tables


@pytest.fixture(scope="module")
def real(data):
    folder = data / "ome_idr"
    return {
        "work_list": folder / "idr0013" / "IDR_stream_data_to_process.zip",
        "filesets": tuple(sorted((folder / "ngff_filesets").glob("*.csv"))),
        "plates_lists": (folder / "idr0013" / "idr0013-screenA-plates.tsv",),
    }


@pytest.fixture(scope="module")
def truth(real):
    with zipfile.ZipFile(real["work_list"]) as archive, archive.open("data_to_process.tsv") as stream:
        return list(csv.DictReader(io.TextIOWrapper(stream), delimiter="\t"))


def test_the_real_work_list_whole(real, truth):
    fields = list(idr.units(idr.Settings(**real), None))
    assert len(fields) == len(truth) == 6743
    assert Counter(one.annotation["Control"] for one in fields) == {"negative control": 3853, "positive control": 2890}
    assert len({one.id.plate for one in fields}) == 510
    assert all(one.planes and "unresolved" not in one.annotation for one in fields)
    for field, row in zip(fields, truth, strict=True):
        assert (field.id.plate, field.id.well, str(field.id.time + 1)) == (row["Plate"], row["Well"], row["Frames"])
        assert field.annotation["DNA"] == row["DNA"]
        assert field.annotation["Gene"] == row["Original Gene Target"]
        assert field.annotation["Plate_Map_Name"] == row["Plate_Map_Name"]
        assert field.annotation["Well_Number"] == row["Well Number"]


def test_the_first_field_in_both_layouts(real):
    zarr, cellh5 = (next(iter(idr.units(idr.Settings(layout=layout, **real), None))) for layout in ("zarr", "cellh5"))
    assert zarr.id == cellh5.id
    assert str(zarr.id) == "LT0001_02 A4 site 1 frame 50"
    (plane,) = zarr.planes
    assert (plane.key, plane.inner) == (f"S-BIAD865/{UUID}/{UUID}.zarr", "A/4/0/0")
    assert (plane.format, plane.c, plane.t) == ("ome_zarr", 0, 49)
    (plane,) = cellh5.planes
    assert plane.key == f"{SCREEN}/hdf5/00004_01.ch5"
    assert plane.inner == f"sample/0/plate/{SCREEN}/experiment/00004/position/1"
    assert (plane.format, plane.t) == ("cellh5", 49)


def test_movie_paths_equal_the_archives_own_screen_file(data, real):
    text = (data / "ome_idr" / "idr0013" / f"{SCREEN}.screen").read_text()
    told = {line.split("/mitocheck/")[1] for line in text.splitlines() if line.startswith("Field_0")}
    chosen = idr.Settings(layout="cellh5", plates=("LT0001_02",), **real)
    keys = {one.planes[0].key for one in idr.units(chosen, None)}
    assert keys
    assert keys <= told


def test_filesets_alone_give_whole_plates_of_every_study(real):
    every = list(idr.units(idr.Settings(filesets=real["filesets"], studies=("*",)), None))
    lines = [line for path in real["filesets"] for line in path.read_text().split()]
    assert all(isinstance(one, Container) and one.format == "ome_zarr" for one in every)
    assert {f"{one.study}/{one.plate}.ome.zarr,{one.key.rpartition('/')[0]}" for one in every} == {
        line.rpartition(",")[0] for line in lines
    }
    assert Counter(one.study for one in every) == {
        "idr0004": 46, "idr0010": 147, "idr0013": 538, "idr0016": 413, "idr0033": 12, "idr0036": 20,
    }  # fmt: skip


def test_a_screens_plates_alone(data, real):
    screen_b = data / "ome_idr" / "idr0013" / "idr0013-screenB-plates.tsv"
    chosen = idr.Settings(filesets=real["filesets"], plates_lists=(screen_b,), screens=("*",))
    plates = {one.plate for one in idr.units(chosen, None)}
    assert plates == {line.split("\t")[0] for line in screen_b.read_text().splitlines()}
    assert len(plates) == 28


def test_a_real_annotation_table(data, real, tmp_path):
    with zipfile.ZipFile(data / "ome_idr" / "idr0013" / "idr0013-screenB-library_processed.zip") as archive:
        text = archive.read("idr0013-screenB-library.txt")
    (tmp_path / "library.txt.gz").write_bytes(gzip.compress(text))
    rows = list(csv.DictReader(io.StringIO(text.decode()), delimiter="\t"))
    chosen = idr.Settings(
        annotation=tmp_path / "library.txt.gz", filesets=real["filesets"], frames=(50,), controls="any",
        drop_wells=("A1",), carry=("siRNA Identifier",),
    )  # fmt: skip
    fields = list(idr.units(chosen, None))
    kept = [row for row in rows if row["Control Type"].startswith(("neg", "pos")) and row["Well"] != "A1"]
    assert kept
    assert [(one.id.plate, one.id.well, one.annotation["siRNA_Identifier"]) for one in fields] == [
        (row["Plate"], row["Well"], row["siRNA Identifier"]) for row in kept
    ]
    assert all(one.planes for one in fields)


# choosing


def test_controls_plates_wells_and_frames(tables):
    rows = [
        ROW.replace("\t50\t", "\t49,50, 51\t"),
        ROW.replace("A4", "B1").replace("\t4\tpositive", "\t25\tnegative"),
        ROW.replace("LT0001_02", "LT0002_02"),
    ]
    every = listed(tables, *rows)
    assert [(one.id.plate[-4:], one.id.well, one.id.time) for one in every] == [
        ("1_02", "A4", 48), ("1_02", "A4", 49), ("1_02", "A4", 50), ("1_02", "B1", 49), ("2_02", "A4", 49),
    ]  # fmt: skip
    assert every[0].annotation["DNA"] == "LT0001_02/LT0001_02_4_49.tif"
    assert [one.id.time for one in listed(tables, *rows, wells=("A*",), frames=(49, 51))] == [48, 50]
    assert [one.id.plate for one in listed(tables, *rows, plates=("LT0002*",))] == ["LT0002_02"]
    assert [one.id.well for one in listed(tables, *rows, controls="negative")] == ["B1"]
    assert len(listed(tables, *rows, controls="positive")) == 4
    assert len(listed(tables, *rows, drop_wells=("A4",))) == 1
    assert len(listed(tables, *rows, limit=2)) == 2


def test_annotation_rows(tables):
    rows = [
        "LT0001_02,A1,1,negative control,,,,GFP",
        "LT0001_02,A02,2,negative control,,,,GFP",
        "LT0001_02,A3,3,,KIF11,kif,,GFP",
        "LT0001_02,A4,4,empty well,,,,GFP",
        "LT0001_02,A5,5,positive control,,COPB,plate missing,GFP",
    ]

    def kept(**more):
        return {one.id.well: one.annotation["Gene"] for one in annotated(tables, *rows, frames=(50,), **more)}

    assert kept() == {"A1": "negative control", "A2": "negative control", "A3": "KIF11", "A4": "", "A5": "COPB"}
    assert list(kept(controls="any", drop_plate_issues=True, drop_wells=("A1",))) == ["A2"]
    assert list(kept(controls="samples")) == ["A3"]
    assert list(kept(drop_empty_wells=True)) == ["A1", "A2", "A3", "A5"]
    assert len(annotated(tables, *rows, frames=(10, 20))) == 10


def test_a_sample_is_random_repeatable_and_blind_to_order(tables):
    rows = [ROW.replace("A4", f"A{n}").replace("\t4\t", f"\t{n}\t") for n in range(1, 25)]
    one = listed(tables, *rows, sample={"n": 5, "seed": 1})
    again = listed(tables, *reversed(rows), sample={"n": 5, "seed": 1})
    other = listed(tables, *rows, sample={"n": 5, "seed": 2})
    assert {found.id for found in one} == {found.id for found in again}
    assert [found.id.well for found in one] == sorted((found.id.well for found in one), key=lambda well: int(well[1:]))
    assert {found.id for found in one} != {found.id for found in other}
    assert len(one) == 5
    frame = listed(tables, *(row.replace("\t50\t", "\t31,32,33\t") for row in rows), sample={"n": 1, "per": "well"})
    assert len(frame) == 24
    assert len({found.id.time for found in frame}) == 3


def test_two_channels(tables):
    (field,) = listed(tables, ROW, channels=("DNA", "GFP"))
    assert [plane.c for plane in field.planes] == [0, 1]
    assert [channel.name for channel in field.channels] == ["DNA", "GFP"]


def test_base(tables):
    assert idr.base(settings(tables)).startswith("https://uk1s3.embassy.ebi.ac.uk/bia-integrator-data")
    assert idr.base(settings(tables, base="s3://mirror")) == "s3://mirror"


# what cannot be placed, and what is refused


def test_an_unknown_plate_is_yielded_with_its_reason(tables):
    for layout, table in (("zarr", "fileset tables"), ("cellh5", "plates lists")):
        (field,) = listed(tables, ROW.replace("LT0001", "LT9999"), layout=layout)
        assert isinstance(field, Field)
        assert field.planes == ()
        assert field.annotation["unresolved"] == f"plate LT9999_02 is not in the {table}"
        assert field.id.study == "idr0013"


def test_a_plate_of_two_studies_is_not_guessed(tables):
    with (tables / "idr0013.csv").open("a") as table:
        table.write("idr0099/LT0001_02.ome.zarr,S-BIAD1/00000000-0000-0000-0000-000000000000,1\n")
    (field,) = listed(tables, ROW, studies=("idr*",))
    assert "idr0013, idr0099" in field.annotation["unresolved"]
    (field,) = listed(tables, ROW)
    assert field.planes


@pytest.mark.parametrize(
    ("header", "row", "words"),
    [
        (HEADER.replace("Plate\t", "Plaque\t", 1), ROW, ["list.tsv", "row 1", "'Plate'", "missing", "Plaque"]),
        (HEADER.replace("Frames", "Frame"), ROW, ["row 1", "'Frames'"]),
        (HEADER.replace("\tWell Number", "\tNo").replace("\tWell", "\tW"), ROW, ["neither 'Well' nor 'Well Number'"]),
        (HEADER.replace("\t", ";"), ROW.replace("\t", ";"), ["neither tabs nor commas", "row 1"]),
        (HEADER, ROW.replace("\t50\t", "\tfifty\t"), ["row 2", "'Frames'", "'fifty'", "frames from 1"]),
        (HEADER, ROW.replace("\t50\t", "\t0\t"), ["row 2", "'Frames'", "'0'"]),
        (HEADER, ROW.replace("A4", "4A"), ["row 2", "'Well'", "'4A'"]),
        (HEADER, ROW.replace("A4", "A25"), ["row 2", "'Well'", "24 columns"]),
        (HEADER, ROW.replace("\t4\t", "\t5\t"), ["row 2", "'Well Number'", "A4 has number 4, not 5", "plate_columns"]),
        (HEADER, ROW.replace("\t1\tLT0001_02/", "\tx\tLT0001_02/"), ["row 2", "'Site'", "'x'"]),
        (HEADER, ROW.replace("\t1\t1\t", "\t1\t"), ["row 2", "10 values", "11 columns"]),
        (HEADER, ROW.replace("KIF11", "\udcff"), ["UTF-8"]),
    ],
)
def test_a_malformed_list_is_refused_with_its_place(tables, header, row, words):
    (tables / "list.tsv").write_bytes(f"{header}\n{row}\n".encode(errors="surrogateescape"))
    with pytest.raises(RecipeError) as caught:
        list(idr.units(settings(tables, work_list=tables / "list.tsv"), None))
    for word in words:
        assert word in str(caught.value)
    assert "list.tsv" in caught.value.place or "list.tsv" in str(caught.value)
    assert caught.value.remedy


def test_row_numbers_stay_true_in_a_long_list(tables):
    rows = [ROW] * 100_000
    rows[90_000] = ROW.replace("\t50\t", "\t-3\t")
    with pytest.raises(RecipeError, match="row 90002"):
        listed(tables, *rows)


def test_other_files_are_refused_by_name(tables):
    with pytest.raises(RecipeError, match=r"no table at .*nowhere\.tsv"):
        list(idr.units(settings(tables, work_list=tables / "nowhere.tsv"), None))
    (tables / "bad.gz").write_bytes(gzip.compress(b"a\tb\n" * 1000)[:-20])
    with pytest.raises(RecipeError, match=r"bad\.gz.*damaged"):
        list(idr.units(settings(tables, work_list=tables / "bad.gz"), None))
    with zipfile.ZipFile(tables / "two.zip", "w") as archive:
        archive.writestr("a.tsv", "x")
        archive.writestr("b.tsv", "x")
    with pytest.raises(RecipeError, match=r"two\.zip.*2 tables"):
        list(idr.units(settings(tables, work_list=tables / "two.zip"), None))
    (tables / "idr0013.csv").write_text("idr0013/LT0001_02.ome.zarr,S-BIAD865/../../etc,1\n")
    with pytest.raises(RecipeError, match=r"idr0013\.csv, row 1: not a fileset line"):
        listed(tables, ROW)
    (tables / "plates.tsv").write_text("\nLT0001_02,nothing\n")
    with pytest.raises(RecipeError, match=r"plates\.tsv, row 2: not a plate and its screen"):
        listed(tables, ROW, layout="cellh5", filesets=())


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"work_list": "a", "annotation": "b", "filesets": ["c"]}, "not both"),
        ({"annotation": "b", "filesets": ["c"]}, "say which in frames"),
        ({"work_list": "a"}, "needs filesets"),
        ({"layout": "cellh5", "plates_lists": ["a"]}, "work_list or an annotation"),
        ({"filesets": ["c"], "screens": ["*"]}, "only with plates_lists"),
        ({"filesets": ["c"], "frames": [0]}, "greater than 0"),
        ({"filesets": ["c"], "plats": ["x"]}, "plats"),
    ],
)
def test_settings_that_do_not_fit_together(told, words):
    with pytest.raises(ValueError, match=words):
        idr.Settings(**told)


# speed


@pytest.mark.slow
def test_a_million_rows(tables):
    (tables / "long.tsv").write_text(HEADER + "\n" + (ROW + "\n") * 1_000_000)
    start = time.process_time()
    first = next(iter(idr.units(settings(tables, work_list=tables / "long.tsv"), None)))
    assert first.planes
    to_first = time.process_time() - start
    assert sum(1 for _ in idr.units(settings(tables, work_list=tables / "long.tsv"), None)) == 1_000_000
    to_last = time.process_time() - start
    assert to_first < to_last / 5  # nothing is read ahead
    assert to_last < 300  # half a minute on a free core
