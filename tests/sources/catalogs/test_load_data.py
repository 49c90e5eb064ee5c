"""Image tables of CellProfiler, as JUMP publishes them."""

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from phenostream import datasets
from phenostream.errors import DamagedError, HostileError, NotFoundError, RecipeError
from phenostream.formats import tiff
from phenostream.sources import LocalStore, catalogs

GALLERY = "s3://cellpainting-gallery/cpg0016-jump/source_4/images/B1/images/P7/"
NAMES = ("DNA", "ER", "RNA", "AGP", "Mito")


def row(well, site, *, url=False, plate="P7"):
    told = {"Metadata_Source": "source_4", "Metadata_Batch": "B1", "Metadata_Plate": plate, "Metadata_Well": well,
            "Metadata_Site": str(site)}  # fmt: skip
    for number, name in enumerate(NAMES, 1):
        file = f"r{well}f{site:02d}-ch{number}.tiff"
        if url:
            told[f"URL_Orig{name}"] = GALLERY + file
        else:
            told |= {f"FileName_Orig{name}": file, f"PathName_Orig{name}": "/home/ubuntu/bucket/images/P7/"}
            told |= {f"FileName_Illum{name}": f"P7_Illum{name}.npy", f"PathName_Illum{name}": "/home/ubuntu/illum/"}
    return told


def table(path, rows):
    names = list(rows[0])
    lines = [",".join(names), *(",".join(one[name] for name in names) for one in rows)]
    text = "\n".join(lines).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return str(path)


def find(tmp_path, **settings):
    parsed = catalogs.parse({"catalog": "load_data", "base": str(tmp_path), **settings})
    return list(catalogs.units(parsed, LocalStore(tmp_path)))


@pytest.mark.parametrize("url", [False, True])
@pytest.mark.parametrize("name", ["load_data.csv", "load_data.csv.gz"])
def test_rows_become_sites_with_all_channels(tmp_path, url, name):
    rows = [row(well, site, url=url) for well in ("B02", "A10", "A02") for site in (2, 1)]
    found = find(
        tmp_path, table=table(tmp_path / name, rows), strip=GALLERY if url else "/home/ubuntu/bucket/images/P7/"
    )
    assert [(one.id.plate, one.id.well, one.id.site) for one in found] == [
        ("P7", well, site) for well in ("A2", "A10", "B2") for site in ("1", "2")
    ]
    first = found[0]
    assert tuple(channel.name for channel in first.channels) == NAMES
    assert first.channels[0].stain == "Hoechst"
    assert [plane.key for plane in first.planes] == [f"rA02f01-ch{k}.tiff" for k in range(1, 6)]
    assert dict(first.annotation) == {"source": "source_4", "batch": "B1"}


def test_a_parquet_table_says_the_same(tmp_path):
    rows = [row("A01", 1), row("A01", 2)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "load_data.parquet")
    strip = "/home/ubuntu/bucket/images/P7"
    assert find(tmp_path, table=str(tmp_path / "load_data.parquet"), strip=strip) == find(
        tmp_path, table=table(tmp_path / "load_data.csv", rows), strip=strip
    )


def test_channels_are_chosen_by_name_and_order(tmp_path):
    path = table(tmp_path / "t.csv", [row("A01", 1)])
    (found,) = find(tmp_path, table=path, strip="/home/ubuntu/bucket/images/P7", channels=["Mito", "DNA"])
    assert [channel.name for channel in found.channels] == ["Mito", "DNA"]
    with pytest.raises(RecipeError, match="'GFP'"):
        find(tmp_path, table=path, channels=["GFP"])
    with pytest.raises(RecipeError, match="FileName_Corr"):
        find(tmp_path, table=path, prefix="Corr")


def test_a_table_below_base_and_a_screen_that_packs(tmp_path):
    rng = np.random.default_rng(0)
    for site in (1, 2):
        for number in range(1, 6):
            tiff.write(tmp_path / f"rA01f{site:02d}-ch{number}.tiff", rng.integers(0, 4000, (9, 11), np.uint16))
    table(tmp_path / "load_data.csv", [row("A01", 1), row("A01", 2), row("A01", 3)])
    screen = datasets.open_screen({"catalog": "load_data", "base": str(tmp_path), "table": "load_data.csv",
                                   "strip": "/home/ubuntu/bucket/images/P7"})  # fmt: skip
    told = datasets.pack(screen, tmp_path / "pack")
    assert (told.inputs, told.sites, [one.reason for one in told.findings]) == (3, 2, ["missing"])
    assert datasets.open_pack(tmp_path / "pack").channels == NAMES


def test_what_does_not_fit_is_named(tmp_path):
    path = table(tmp_path / "t.csv", [row("A01", 1), row("A01", 1)])
    with pytest.raises(RecipeError, match="does not lie below"):
        find(tmp_path, table=path)
    with pytest.raises(RecipeError, match=r"rA01f01-ch1\.tiff.*twice"):
        find(tmp_path, table=path, strip="/home/ubuntu/bucket/images/P7")
    with pytest.raises(NotFoundError):
        find(tmp_path, table=str(tmp_path / "none.csv"))
    (tmp_path / "bad.csv.gz").write_bytes(b"\x1f\x8bno")
    with pytest.raises(DamagedError):
        find(tmp_path, table=str(tmp_path / "bad.csv.gz"))
    evil = row("A01", 1) | {"FileName_OrigDNA": "../../etc/passwd.png"}
    with pytest.raises(HostileError):
        find(tmp_path, table=table(tmp_path / "e.csv", [evil]), strip="/home/ubuntu/bucket/images/P7")


def test_a_row_without_a_file_lacks_the_channel(tmp_path):
    path = table(tmp_path / "t.csv", [row("A01", 1) | {"FileName_OrigER": ""}])
    (found,) = find(tmp_path, table=path, strip="/home/ubuntu/bucket/images/P7")
    assert [channel.name for channel in found.channels] == ["DNA", "RNA", "AGP", "Mito"]


def test_it_is_closed_where_its_table_is_local(tmp_path):
    path = table(tmp_path / "t.csv", [row("A01", 1)])
    assert catalogs.closed(catalogs.parse({"catalog": "load_data", "base": str(tmp_path), "table": path}))
    assert not catalogs.closed(catalogs.parse({"catalog": "load_data", "base": str(tmp_path), "table": "inside.csv"}))


def test_what_strip_and_base_stand_for_ends_where_a_folder_does(tmp_path):
    """The images of plate P10 do not lie in the folder of plate P1."""
    one = row("A01", 1) | {f"PathName_Orig{name}": "/bucket/P10" for name in NAMES}
    path = table(tmp_path / "t.csv", [one])
    for strip in ("/bucket/P1", "/bucket/P1/", "/bucket/P"):
        with pytest.raises(RecipeError, match="does not lie below"):
            find(tmp_path, table=path, strip=strip)
    for strip in ("/bucket", "/bucket/", "/bucket/P10", "/bucket/P10/"):
        (found,) = find(tmp_path, table=path, strip=strip)
        assert found.planes[0].key.removeprefix("P10/") == "rA01f01-ch1.tiff"
    below = row("A01", 1) | {f"PathName_Orig{name}": f"{tmp_path}0" for name in NAMES}
    with pytest.raises(RecipeError, match="does not lie below"):
        find(tmp_path, table=table(tmp_path / "b.csv", [below]))


def images(folder, rows):
    rng = np.random.default_rng(0)
    for one in rows:
        for name in NAMES:
            tiff.write(folder / one[f"FileName_Orig{name}"], rng.integers(0, 4000, (9, 11), np.uint16))


def test_a_site_that_the_table_has_again_is_a_finding(tmp_path):
    rows = [row("A01", 1), row("A02", 1), row("A01", 1) | {"FileName_OrigDNA": "rA02f01-ch1.tiff"}]
    images(tmp_path, rows)
    table(tmp_path / "load_data.csv", rows)
    screen = datasets.open_screen({"catalog": "load_data", "base": str(tmp_path), "table": "load_data.csv",
                                   "strip": "/home/ubuntu/bucket/images/P7"})  # fmt: skip
    told = datasets.audit(screen)
    assert (told.inputs, told.sound, told.reasons) == (3, 2, {"duplicate": 1})
    packed = datasets.pack(screen, tmp_path / "pack")
    (found,) = packed.findings
    assert (packed.inputs, packed.sites, found.reason, found.id.well) == (3, 2, "duplicate", "A1")
    assert found.files[0] == "rA02f01-ch1.tiff"
    (first,) = (one for one in screen.fields if one.id.well == "A1")
    assert first.planes[0].key == "rA01f01-ch1.tiff"
    with pytest.raises(RecipeError, match="duplicate"):
        datasets.pack(screen, tmp_path / "fail", settings=datasets.PackSettings(faults="fail"))


WELLS = """Metadata_Source,Metadata_Plate,Metadata_Well,Metadata_JCP2022
source_4,P7,A01,JCP2022_033924
source_4,P7,A02,JCP2022_000001
source_4,P7,A03,JCP2022_085227
source_4,P7,A04,JCP2022_999999
source_9,P7,A01,JCP2022_000002
"""
COMPOUNDS = """Metadata_JCP2022,Metadata_InChIKey,Metadata_SMILES
JCP2022_000001,AAAHWCWPZPSPIW-UHFFFAOYSA-N,CCO
JCP2022_033924,IAZDPXIOMUYVGZ-UHFFFAOYSA-N,C[S+](C)[O-]
JCP2022_085227,SRVFFFJZQVENJC-IHRRRGAJSA-N,CCOC
"""
CONTROLS = """Metadata_JCP2022,Metadata_pert_type,Metadata_Name,Metadata_modality
JCP2022_999999,empty,Empty,any
JCP2022_033924,negcon,DMSO,compound
JCP2022_085227,poscon,aloxistatin,compound
"""
JUMP = {
    "strip": "/home/ubuntu/bucket/images/P7",
    "metadata": [
        {"table": "well.csv.gz", "by": ["source", "plate", "well"]},
        {"table": "compound.csv.gz", "by": ["JCP2022"], "columns": ["InChIKey"]},
        {"table": "perturbation_control.csv", "by": ["jcp2022"], "columns": {"name": "control"}, "sparse": True},
    ],
}


@pytest.fixture
def jump(tmp_path):
    """A plate as JUMP tells of it: the image table knows no perturbation, three tables joined do."""
    (tmp_path / "well.csv.gz").write_bytes(gzip.compress(WELLS.encode()))
    (tmp_path / "compound.csv.gz").write_bytes(gzip.compress(COMPOUNDS.encode()))
    (tmp_path / "perturbation_control.csv").write_text(CONTROLS)
    rows = [row(f"A0{k}", site) for k in range(1, 6) for site in (1, 2)]
    images(tmp_path, rows)
    table(tmp_path / "load_data.csv", rows)
    return tmp_path


def of_pert_type(metadata):
    return [*metadata[:2], {**metadata[2], "columns": {"name": "control", "pert_type": "pert_type"}}]


def test_tables_are_joined_one_after_another(jump):
    kinds = {"negcon": "negative_control", "poscon": "positive_control", "empty": "empty"}
    source = {"catalog": "load_data", "base": str(jump), "table": "load_data.csv", **JUMP}
    source["metadata"] = of_pert_type(source["metadata"])
    screen = datasets.open_screen({**source, "controls": {"column": "pert_type", "values": kinds}})
    told = {one.id.well: dict(one.annotation) for one in screen.fields if one.id.site == "2"}
    plate = {"source": "source_4", "batch": "B1"}
    assert told == {
        "A1": plate | {"jcp2022": "JCP2022_033924", "inchikey": "IAZDPXIOMUYVGZ-UHFFFAOYSA-N", "control": "DMSO",
                       "pert_type": "negcon", "well_type": "negative_control"},
        "A2": plate | {"jcp2022": "JCP2022_000001", "inchikey": "AAAHWCWPZPSPIW-UHFFFAOYSA-N",
                       "well_type": "treatment"},
        "A3": plate | {"jcp2022": "JCP2022_085227", "inchikey": "SRVFFFJZQVENJC-IHRRRGAJSA-N",
                       "control": "aloxistatin", "pert_type": "poscon", "well_type": "positive_control"},
        "A4": plate | {"jcp2022": "JCP2022_999999", "control": "Empty", "pert_type": "empty", "well_type": "empty"},
        "A5": plate,
    }  # fmt: skip
    assert screen.unannotated == 2
    datasets.pack(screen, jump / "pack")
    index = datasets.open_pack(jump / "pack").table
    assert index["batch"].to_pylist() == ["B1"] * 10
    assert sorted(filter(None, index["well_type"].to_pylist())) == sorted(
        ["negative_control", "treatment", "positive_control", "empty"] * 2
    )
    one = {**source, "controls": {"column": "JCP2022", "values": {"JCP2022_033924": "negative_control"}}}
    known = {field.id.well: field.annotation.get("well_type") for field in datasets.open_screen(one).fields}
    assert known == {"A1": "negative_control", "A2": "treatment", "A3": "treatment", "A4": "treatment", "A5": None}


def test_tables_that_do_not_join_are_refused_with_counts(jump):
    def screen(*metadata, **more):
        return find(jump, table="load_data.csv", **{**JUMP, "metadata": metadata, **more})

    wells, compounds, control = JUMP["metadata"]
    with pytest.raises(RecipeError, match=r"nothing is known of 'JCP2022'.*join the table that brings it first"):
        screen(compounds)
    with pytest.raises(RecipeError, match=r"well.csv.gz has no column 'batch'.*it has source, plate, well, jcp2022"):
        screen({**wells, "by": ["batch", "well"]})
    with pytest.raises(RecipeError, match=r"two things of 1 of 5 values of plate, well, the first P7 A1"):
        screen({**wells, "by": ["plate", "well"], "columns": ["jcp2022"]})
    (jump / "other.csv").write_text("Plate,Well,x\nP70,A01,1\n")
    with pytest.raises(RecipeError, match=r"none of 10 sites by plate, well: a site has P7 A1, the table P70 A1"):
        screen({"table": "other.csv", "by": ["plate", "well"]})
    assert len(screen({"table": "other.csv", "by": ["plate", "well"], "sparse": True})) == 10
    (jump / "holes.csv").write_text("Plate,Well,x\nP7,A01,1\n,A02,2\nP7,nowhere,3\n")
    with pytest.raises(RecipeError, match=r"2 rows of holes.csv have no plate, well.*the first is row 3"):
        screen({"table": "holes.csv", "by": ["plate", "well"]})
    (jump / "batches.csv").write_text("Plate,Batch\nP7,B2\n")
    with pytest.raises(RecipeError, match=r"says another batch.*of 10 sites, the first 'B2' for 'B1'"):
        screen({"table": "batches.csv", "by": ["plate"]})
    with pytest.raises(RecipeError, match="no column 'dose'"):
        screen({**wells, "columns": ["dose"]})
    with pytest.raises(RecipeError, match="'pert_type' of the controls"):
        screen(wells, control, controls={"column": "pert_type", "values": {"negcon": "negative_control"}})
    with pytest.raises(RecipeError, match="controls"):
        screen(wells, controls={"column": "jcp2022", "values": {"JCP2022_033924": "negcon"}})
    with pytest.raises(NotFoundError):
        screen({"table": str(jump / "none.csv"), "by": ["plate"]})


def test_rows_of_other_plates_may_say_what_they_like(jump):
    """A consortium's table has every plate of every source: only the keys that the sites have are looked at."""
    (jump / "all.csv").write_text("Plate,Well,x\nP7,A01,1\nP9,A01,1\nP9,A01,2\n")
    found = find(jump, table="load_data.csv", **{**JUMP, "metadata": [{"table": "all.csv", "by": ["plate", "well"]}]})
    assert [one.annotation.get("x") for one in found[:3]] == ["1", "1", None]


def test_a_plan_is_closed_where_all_its_tables_are_local(jump):
    told = {"catalog": "load_data", "base": str(jump), "table": str(jump / "load_data.csv")}
    local = {"table": str(jump / "well.csv.gz"), "by": ["plate", "well"]}
    assert catalogs.closed(catalogs.parse({**told, "metadata": [local]}))
    assert not catalogs.closed(catalogs.parse({**told, "metadata": [local, {**local, "table": "well.csv.gz"}]}))
