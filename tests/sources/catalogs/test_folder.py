import logging
import zipfile

import numpy as np
import pytest

from phenostream import datasets
from phenostream.errors import NotFoundError, RecipeError
from phenostream.formats import png
from phenostream.sources import LocalStore, TransportOptions, catalogs, datasources, open_store
from phenostream.sources.catalogs import folder
from phenostream.testing.servers import S3Server
from phenostream.values import Container


@pytest.fixture
def place(tmp_path):
    def make(*names):
        for name in names:
            path = tmp_path / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path / "images"

    return make


def find(base, **settings):
    parsed = catalogs.parse({"catalog": "folder", "base": str(base), **settings})
    return folder.survey(parsed, LocalStore(base))


def test_files_become_fields_in_plate_order(place):
    base = place(
        *(
            f"P{p}/{well}_s{s}_w{w}.tif"
            for p in (10, 2)
            for well in ("B01", "A10", "A02")
            for s in (10, 2)
            for w in (2, 1)
        )
    )
    found = find(base, pattern="{plate}/{well}_s{site}_w{channel}.tif", channels={"2": "GFP", "1": "DNA"}, study="S")
    assert [(f.id.plate, f.id.well, f.id.site) for f in found.units] == [
        (plate, well, site) for plate in ("P2", "P10") for well in ("A2", "A10", "B1") for site in ("2", "10")
    ]
    first = found.units[0]
    assert first.id.study == "S"
    assert [channel.name for channel in first.channels] == ["GFP", "DNA"]
    assert [(plane.key, plane.format) for plane in first.planes] == [
        ("P2/A02_s2_w2.tif", "tiff"),
        ("P2/A02_s2_w1.tif", "tiff"),
    ]


def test_without_names_channels_are_called_as_in_the_files(place):
    found = find(place("A1_DAPI.png", "A1_GFP.png"), pattern="{well}_{channel}.png")
    assert [channel.name for channel in found.units[0].channels] == ["DAPI", "GFP"]


def test_files_without_channel_are_one_channel(place):
    assert [c.name for c in find(place("A1.png"), pattern="{well}.png").units[0].channels] == ["DNA"]
    assert [c.name for c in find(place("A1.png"), pattern="{well}.png", channels={"": "GFP"}).units[0].channels] == [
        "GFP"
    ]


def test_time_and_z_count_from_zero(place):
    base = place("A1_t1_z0.tif", "A1_t12_z3.tif")
    found = find(base, pattern="{well}_t{time}_z{z}.tif", time_from=1)
    assert [(f.id.time, f.id.z) for f in found.units] == [(0, 0), (11, 3)]
    with pytest.raises(RecipeError, match="time counts from 2"):
        find(base, pattern="{well}_t{time}_z{z}.tif", time_from=2)


def test_other_parts_become_annotation_and_may_make_the_plate(place):
    found = find(
        place("E1/P7/A1_x.tif"), pattern="{experiment}/P{plate}/{well}_{kind}.tif", plate="{experiment}-{plate}"
    )
    assert found.units[0].id.plate == "E1-7"
    assert found.units[0].annotation == {"experiment": "E1", "kind": "x"}
    with pytest.raises(RecipeError, match="batch"):
        find(place(), pattern="{experiment}/P{plate}/{well}_{kind}.tif", plate="{batch}")


def test_two_files_for_one_channel_are_an_error_with_both_names(place):
    base = place("one/A1_w1.tif", "two/A01_w1.tif")
    settings = catalogs.parse({"catalog": "folder", "base": str(base), "pattern": "{well}_w{channel}.tif"})
    with pytest.raises(RecipeError, match=r"one/A1_w1\.tif and two/A01_w1\.tif.*name the part in which they differ"):
        catalogs.units(settings, LocalStore(base))


def picture(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    png.write(path, np.full((6, 7), value, np.uint8) + np.arange(7, dtype=np.uint8))


@pytest.mark.parametrize("catalog", ["folder", "datasource"])
def test_of_a_screen_two_files_for_one_channel_are_findings(tmp_path, catalog):
    for well, value in (("A01", 10), ("A02", 50)):
        for channel in (1, 2):
            picture(tmp_path / "images" / "P1" / f"{well}_w{channel}.png", value * channel)
    picture(tmp_path / "images" / "P1" / "old" / "A01_w2.png", 200)
    source = {"catalog": catalog, "pattern": "{plate}/**{well}_w{channel}.png"}
    if catalog == "folder":
        source |= {"base": str(tmp_path / "images")}
    else:
        datasources.register("screen", tmp_path / "images", home=tmp_path / "home")
        source |= {"name": "screen", "home": str(tmp_path / "home")}
    screen = datasets.open_screen(source)
    told = datasets.audit(screen)
    (found,) = told.findings
    assert (told.inputs, told.sound, found.reason, found.files) == (3, 2, "duplicate", ("P1/old/A01_w2.png",))
    packed = datasets.pack(screen, tmp_path / "pack")
    assert (packed.inputs, packed.sites, packed.findings) == (3, 2, (found,))
    pack = datasets.open_pack(tmp_path / "pack")
    (first,) = (k for k, row in enumerate(pack.table.to_pylist()) if row["well"] == "A1")
    assert pack[first][1].min() == 20
    if catalog == "datasource":
        assert pack.table["datasource"].null_count == 0


def test_what_does_not_match_is_counted_and_said(place, caplog):
    base = place("A1_w1.tif", "A1_w9.tif", "A0_w1.tif", "readme.txt", "A2_w1.jpg")
    with caplog.at_level(logging.INFO, "phenostream.sources"):
        found = find(base, pattern="{well}_w{channel}.*", channels={"1": "DNA"})
    assert found.unmatched == ("A0_w1.tif", "A2_w1.jpg", "readme.txt")
    assert found.left_out == ("A1_w9.tif",)
    assert "3 files do not match" in caplog.text
    assert len(found.units) == 1


def test_nothing_that_matches_is_an_error_with_examples(place):
    base = place(*(f"image{number}.tif" for number in range(12)))
    with pytest.raises(RecipeError, match=r"well.*image0\.tif, image1\.tif, image2\.tif"):
        find(base, pattern="{well}.tif")


def test_an_empty_folder_is_named(place, tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(NotFoundError, match="no files"):
        find(place(), preset="sbs")


def test_containers_need_no_pattern(place):
    base = place("P1.zarr/zarr.json", "P1.zarr/A/1/0/0/c/0/0", "deep/P2.ome.zarr/.zgroup", "00001_01.ch5", "x.txt")
    found = find(base, study="S")
    assert found.units == (
        Container("00001_01.ch5", "cellh5", "S"),
        Container("P1.zarr", "ome_zarr", "S"),
        Container("deep/P2.ome.zarr", "ome_zarr", "S"),
    )
    assert found.unmatched == ("x.txt",)


def test_containers_may_be_named_by_a_pattern(place):
    found = find(place("LT1--x/00004_01.ch5"), pattern=r"(?P<plate>LT\d+)[^/]*/\d+_01\.ch5")
    assert found.units == (Container("LT1--x/00004_01.ch5", "cellh5", "", "LT1"),)


def test_images_without_pattern_are_refused(place):
    with pytest.raises(RecipeError, match="pattern or a preset"):
        find(place("A1.tif"))


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"pattern": "{well}.tif", "preset": "sbs"}, "not both"),
        ({"preset": "sbss"}, "sbs"),
        ({"pattern": "nothing.tif"}, "names no part"),
        ({"time_from": -1}, "time_from"),
    ],
)
def test_wrong_settings_are_named(wrong, word):
    with pytest.raises((RecipeError, ValueError), match=word):
        catalogs.parse({"catalog": "folder", "base": "x", **wrong})


def test_a_metadata_table_annotates(place, tmp_path):
    table = tmp_path / "layout.csv"
    table.write_text("Row,Column,dose\nA,01,5\n")
    found = find(place("A1.tif", "A2.tif"), pattern="{well}.tif", metadata=table)
    assert [dict(field.annotation) for field in found.units] == [{"dose": "5"}, {}]
    assert found.unannotated == 1


def test_a_metadata_table_may_lie_with_the_images(place):
    base = place("A1.tif")
    (base / "layout.csv").write_text("well,dose\nA1,5\n")
    found = find(base, pattern="{well}.tif", metadata="layout.csv")
    assert found.units[0].annotation == {"dose": "5"}
    with pytest.raises(NotFoundError, match="no table"):
        find(base, pattern="{well}.tif", metadata="/nowhere/layout.csv")


def test_the_whole_96_well_plate(data, tmp_path):
    for archive in sorted((data / "fields" / "sbs_plate").glob("*.zip")):
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(tmp_path)
    table = data / "fields" / "sbs_plate" / "1049_Metadata.csv"
    found = find(tmp_path, preset="sbs", plate="1049", metadata=table)
    assert [field.id.well for field in found.units] == [
        f"{row}{column}" for row in "ABCDEFGH" for column in range(1, 13)
    ]
    assert [channel.name for channel in found.units[0].channels] == ["DNA", "GFP"]
    assert [channel.name for channel in found.units[95].channels] == ["DNA"]
    assert found.units[13].annotation["SBS_Doses"] == "0"
    assert found.unmatched == found.left_out == ()


def test_real_names_of_three_instruments(data):
    human = find(data / "fields" / "examplehuman", preset="cellomics", channels={"0": "DNA", "1": "PH3", "2": "Cell"})
    assert [(f.id.plate, f.id.well, len(f.planes)) for f in human.units] == [("AS_09125_050116030001", "D3", 3)]
    nf1 = find(data / "fields" / "nf1" / "Plate_2_images", preset="cytation")
    assert {(f.id.well, f.id.time) for f in nf1.units} == {("B7", 0), ("D6", 0)}
    assert {channel.name for f in nf1.units for channel in f.channels} == {"DAPI", "GFP", "RFP"}
    jump = find(data / "fields" / "jump_BR00117006", preset="phenix", channels={"5": "DNA"}, plate="BR00117006")
    assert [f.id.plate for f in jump.units] == ["BR00117006"]


def test_a_prefix_of_a_bucket(place, monkeypatch):
    pytest.importorskip("moto")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    base = place("P1/A1_w1.tif", "P1/A2_w1.tif")
    with S3Server({"screen": base}) as server:
        settings = catalogs.parse({"catalog": "folder", "base": "s3://screen/P1", "pattern": "{well}_w{channel}.tif"})
        store = open_store(catalogs.base(settings), options=TransportOptions(endpoint=server.endpoint))
        assert [field.planes[0].key for field in catalogs.units(settings, store)] == ["A1_w1.tif", "A2_w1.tif"]
