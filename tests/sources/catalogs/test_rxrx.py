"""Recursion's screens: each dialect of the tables, each layout of the images, real sites only."""

import logging
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from phenostream import datasets
from phenostream.errors import DamagedError, NotFoundError, RecipeError
from phenostream.formats import png
from phenostream.sources import LocalStore, catalogs
from phenostream.sources.catalogs import rxrx
from phenostream.synthetic.screen import ScreenDesign, fields, sites, write_screen

DESIGN = ScreenDesign(
    experiments=("HEPG2-08", "HUVEC-10"), test_experiments=("HUVEC-10",), perturbations=4, shape=(8, 9), missing=0.15
)


@pytest.fixture(scope="session")
def screens(tmp_path_factory):
    """The same screen in both dialects: (images, metadata) of each."""
    folder = tmp_path_factory.mktemp("screens")
    return {
        name: (folder / name / "images", write_screen(folder / name, DESIGN, dialect=name))
        for name in ("official", "kaggle")
    }


def survey(base, metadata, **settings):
    parsed = catalogs.parse({"catalog": "rxrx", "base": str(base), "metadata": str(metadata), **settings})
    return rxrx.survey(parsed, LocalStore(base))


def picture(folder, name, shape=(4, 5)):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    png.write(path, np.arange(shape[0] * shape[1], dtype=np.uint8).reshape(shape))


def test_both_dialects_tell_the_same_of_the_same_sites(screens):
    official, kaggle = (survey(*screens[name]).units for name in ("official", "kaggle"))
    assert [one.id for one in official] == [one.id for one in kaggle] == [one.id for one in fields(DESIGN)]
    shared = ("site_id", "well_id", "experiment", "plate_number", "dataset", "cell_type", "well_type")
    for one, other in zip(official, kaggle, strict=True):
        assert [one.annotation[name] for name in shared] == [other.annotation[name] for name in shared]
        if other.annotation["dataset"] == "train" or other.annotation["well_type"] != "treatment":
            assert one.annotation["sirna_id"] == other.annotation["sirna_id"]
        else:
            assert "sirna_id" not in other.annotation, "the labels of the competition's test are not told"


def test_the_number_and_the_reagent_are_told_apart(screens):
    first = survey(*screens["official"]).units[0].annotation
    assert first["sirna"].startswith("s1") or first["sirna"] == "EMPTY"
    assert first["sirna_id"].isdecimal()
    assert "sirna" not in survey(*screens["kaggle"]).units[0].annotation


@pytest.mark.parametrize("dialect", ["official", "kaggle"])
def test_pixels_are_those_of_the_site(screens, dialect):
    base, metadata = screens[dialect]
    screen = datasets.open_screen({"catalog": "rxrx", "base": str(base), "metadata": str(metadata)})
    truth = {one.id: one for one in fields(DESIGN)}
    assert {one.id for one in screen.fields} == set(truth)
    for one in screen.fields[::7]:
        assert [channel.name for channel in one.channels] == ["DNA", "ER", "Actin", "RNA", "Mito", "Golgi"]
        assert np.array_equal(one.read(), truth[one.id].read())


def test_load_site_takes_wells_as_people_write_them(screens):
    base, metadata = screens["official"]
    screen = datasets.open_screen({"catalog": "rxrx", "base": str(base), "metadata": str(metadata)})
    one = fields(DESIGN)[5]
    padded = one.annotation["well_id"].rpartition("_")[2]
    pixels = datasets.load_site(screen, one.id.plate, padded, int(one.id.site))
    assert np.array_equal(pixels, one.read())
    some = datasets.load_site(screen, one.id.plate, one.id.well, one.id.site, channels=("Mito", "DNA"))
    assert np.array_equal(some, pixels[[4, 0]])
    with pytest.raises(NotFoundError, match="no site 9"):
        datasets.load_site(screen, one.id.plate, one.id.well, 9)


def test_sites_without_images_are_absent_and_counted(screens, caplog):
    """The competition's tables know wells only: which sites are real is seen in the files."""
    with caplog.at_level(logging.WARNING, "phenostream.sources"):
        found = survey(*screens["kaggle"])
    truth = Counter(site.trouble == "missing" for site in sites(DESIGN))
    assert (len(found.units), len(found.absent)) == (truth[False], truth[True])
    assert f"{truth[True]} sites that have no images" in caplog.text
    assert survey(*screens["official"]).absent == ()


def test_controls_are_there(screens):
    kinds = Counter(one.annotation["well_type"] for one in survey(*screens["kaggle"]).units)
    assert set(kinds) == {"treatment", "positive_control", "negative_control"}


@pytest.mark.parametrize("dialect", ["official", "kaggle"])
def test_without_listing_the_tables_are_believed(screens, dialect):
    base, metadata = screens[dialect]
    listed, believed = survey(base, metadata), survey(base, metadata, listing=False)
    known = {one.id: one for one in believed.units}
    assert len(believed.units) == len(listed.units) + len(listed.absent)
    assert all(known[one.id].planes == one.planes for one in listed.units)


def test_what_the_tables_do_not_tell_of_is_kept_and_counted(screens, tmp_path, caplog):
    table = tmp_path / "metadata.csv"
    lines = screens["official"][1].read_text().splitlines()
    table.write_text("\n".join(lines[:11]))
    with caplog.at_level(logging.WARNING, "phenostream.sources"):
        found = survey(screens["official"][0], table)
    assert found.unannotated == len(found.units) - 10
    assert "say nothing of" in caplog.text
    assert all(one.annotation["experiment"] for one in found.units)


def test_five_stains_as_in_rxrx19a(tmp_path):
    for channel in range(1, 6):
        picture(tmp_path, f"RxRx19a/images/VERO-1/Plate2/AA07_s3_w{channel}.png")
    (tmp_path / "metadata.csv").write_text(
        "site_id,well_id,cell_type,experiment,plate,well,site,disease_condition,treatment,treatment_conc,SMILES\n"
        "VERO-1_2_AA07_3,VERO-1_2_AA07,VERO,VERO-1,2,AA07,3,Active SARS-CoV-2,remdesivir,0.3,CCC(=O)N\n"
    )
    (found,) = survey(tmp_path, tmp_path / "metadata.csv", stains="five").units
    assert [channel.name for channel in found.channels] == ["DNA", "ER", "Actin", "RNA", "Golgi"]
    assert (found.id.plate, found.id.well, found.id.site) == ("VERO-1_2", "AA7", "3")
    assert found.annotation["treatment"] == "remdesivir"
    assert found.annotation["SMILES"] == "CCC(=O)N"


def test_wells_of_rxrx3(tmp_path):
    for channel in range(1, 7):
        picture(tmp_path, f"gene-088/Plate9/Z43_s1_{channel}.png")
    (tmp_path / "metadata_rxrx3.csv").write_text(
        "well_id,experiment_name,plate,address,gene,treatment,SMILES,concentration,perturbation_type,cell_type\n"
        "gene-088_9_Z43,gene-088,9,Z43,BRCA1,BRCA1_guide_2,,,CRISPR,HUVEC\n"
        "gene-088_9_Z44,gene-088,9,Z44,EMPTY_control,EMPTY_control,,,CRISPR,HUVEC\n"
    )
    found = survey(tmp_path, tmp_path / "metadata_rxrx3.csv", sites=[1])
    assert [(one.id.plate, one.id.well) for one in found.units] == [("gene-088_9", "Z43")]
    assert [one.well for one in found.absent] == ["Z44"]
    assert found.units[0].annotation["gene"] == "BRCA1"
    assert len(found.units[0].channels) == 6


@pytest.fixture
def wilds(tmp_path):
    """Three channels of a screen as one colour picture a site, beside the published table."""
    design = ScreenDesign(experiments=("RPE-01",), test_experiments=(), perturbations=2, shape=(16, 16), missing=0.0)
    truth = fields(design)
    for one in truth:
        experiment, plate, well = one.annotation["well_id"].split("_")
        path = tmp_path / "images" / experiment / f"Plate{plate}" / f"{well}_s{one.id.site}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(np.moveaxis(one.read()[:3], 0, -1))).save(path)
    table = "site_id,well_id,cell_type,dataset,experiment,plate,well,site,well_type,sirna,sirna_id\n"
    for one in truth:
        told = one.annotation
        row = [told[name] for name in ("site_id", "well_id", "cell_type", "dataset", "experiment", "plate_number")]
        rest = [told[name] for name in ("well_type", "sirna", "sirna_id")]
        table += ",".join([*row, told["well_id"].rpartition("_")[2], one.id.site, *rest]) + "\n"
    (tmp_path / "metadata.csv").write_text(table)
    return tmp_path, truth


def test_colour_pictures_of_wilds_are_three_named_channels(wilds):
    folder, truth = wilds
    source = {"catalog": "rxrx", "base": str(folder / "images"), "metadata": str(folder / "metadata.csv")}
    screen = datasets.open_screen({**source, "stains": "rgb"})
    assert [one.id for one in screen.fields] == [one.id for one in truth]
    for one, known in zip(screen.fields, truth, strict=True):
        assert [channel.name for channel in one.channels] == ["DNA", "ER", "Actin"]
        assert one.channels[2].stain == "Phalloidin"
        assert one.annotation == known.annotation
        assert np.array_equal(one.read(), known.read()[:3])
    some = datasets.open_screen({**source, "stains": "rgb", "channels": {"3": "F-actin"}})
    assert np.array_equal(some.fields[4].read(), truth[4].read()[2:3])
    believed = datasets.open_screen({**source, "stains": "rgb", "listing": False})
    assert np.array_equal(believed.fields[2].read(), screen.fields[2].read())
    packed = datasets.pack(screen, folder / "pack")
    assert (packed.sites, packed.findings) == (len(truth), ())
    pack = datasets.open_pack(folder / "pack")
    assert pack.channels == ("DNA", "ER", "Actin")
    known = {one.annotation["site_id"]: one for one in truth}
    assert all(
        np.array_equal(pack[row], known[name].read()[:3]) for row, name in enumerate(pack.table["site_id"].to_pylist())
    )


def test_colour_pictures_and_files_of_channels_are_not_taken_for_each_other(wilds, screens):
    folder, _ = wilds
    with pytest.raises(NotFoundError, match=r"s1\.png looks like a colour picture a site: set stains to rgb"):
        survey(folder / "images", folder / "metadata.csv")
    with pytest.raises(NotFoundError, match=r"_w1\.png looks like a file a channel: set stains to six"):
        survey(*screens["official"], stains="rgb")
    with pytest.raises(RecipeError, match="none of number 6"):
        survey(folder / "images", folder / "metadata.csv", stains="rgb", channels={"6": "Golgi"})


def test_a_grey_picture_among_colours_is_a_fault_with_a_name(wilds):
    folder, truth = wilds
    site = next((folder / "images").rglob("*.png"))
    png.write(site, np.zeros((16, 16), np.uint8))
    source = {"catalog": "rxrx", "base": str(folder / "images"), "metadata": str(folder / "metadata.csv")}
    audit = datasets.audit(datasets.open_screen({**source, "stains": "rgb"}))
    (found,) = audit.findings
    assert (found.reason, audit.sound) == ("wrong-shape", len(truth) - 1)
    assert "is grey" in found.message
    assert site.name in found.files[0]


def test_channels_that_are_not_asked_for_are_left_out_and_counted(screens):
    found = survey(*screens["official"], channels={"5": "Mito", "1": "DNA"})
    assert [channel.name for channel in found.units[0].channels] == ["Mito", "DNA"]
    assert len(found.left_out) == 4 * len(found.units)


def test_tables_may_lie_below_base(screens):
    base, metadata = screens["official"]
    found = survey(base.parent, metadata.name)
    assert len(found.units) == len(survey(base, metadata).units)
    assert found.unmatched == ("metadata.csv",)
    assert len(survey(base.parent.parent / "kaggle", "metadata").units) == len(found.units)


def test_what_does_not_fit_is_named(tmp_path, screens):
    base = screens["official"][0]
    with pytest.raises(NotFoundError):
        survey(base, tmp_path / "none.csv")
    with pytest.raises(NotFoundError):
        survey(base, str(tmp_path))
    for name, text, error in (
        ("a.csv", "", DamagedError),
        ("b.csv", "experiment,plate\nHEPG2-08,1\n", RecipeError),
        ("c.csv", "experiment,plate,well,site,x\nE,1,B02,1,a\nE,1,B02,1,b\n", RecipeError),
        ("d.csv", "experiment,plate,well,site\nE,first,B02,1\n", RecipeError),
        ("e.csv", "experiment,plate,well,site\nE,1,nowhere,1\n", RecipeError),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(error):
            survey(base, tmp_path / name)
    with pytest.raises(NotFoundError, match="no images"):
        survey(tmp_path, screens["official"][1])


@pytest.fixture
def doubled(tmp_path):
    """Two sites of six channels, the first one twice, and a stray channel of the second before it in the alphabet."""
    rng = np.random.default_rng(0)
    for folder, wells in (("images", ("B02", "B03")), ("more/images", ("B02",))):
        for well in wells:
            for channel in range(1, 7):
                path = tmp_path / "screen" / folder / "HEPG2-01" / "Plate1" / f"{well}_s1_w{channel}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                png.write(path, rng.integers(0, 99, (8, 9), np.uint8))
    picture(tmp_path / "screen", "a/HEPG2-01/Plate1/B03_s1_w2.png", (8, 9))
    (tmp_path / "metadata.csv").write_text(
        "experiment,plate,well,site,sirna_id\nHEPG2-01,1,B02,1,7\nHEPG2-01,1,B03,1,8\n"
    )
    return {"catalog": "rxrx", "base": str(tmp_path / "screen"), "metadata": str(tmp_path / "metadata.csv")}


def test_copies_are_told_and_the_whole_copy_is_read(doubled, caplog):
    with caplog.at_level(logging.WARNING, "phenostream.sources"):
        screen = datasets.open_screen(doubled)
    assert [{plane.key.split("/")[0] for plane in one.planes} for one in screen.fields] == [{"images"}, {"images"}]
    assert [(one.id.well, len(one.kept), len(one.files)) for one in screen.duplicates] == [("B2", 6, 6), ("B3", 1, 1)]
    assert screen.duplicates[1].files == ("a/HEPG2-01/Plate1/B03_s1_w2.png",)
    assert screen.duplicates[1].kept == ("images/HEPG2-01/Plate1/B03_s1_w2.png",)
    assert "2 copies of sites are not used" in caplog.text


def test_an_audit_and_a_pack_name_copies_under_the_policy(doubled, tmp_path):
    screen = datasets.open_screen(doubled)
    told = datasets.audit(screen)
    assert (told.inputs, told.sound, told.reasons) == (4, 2, {"duplicate": 2})
    assert told.findings[1].files == ("a/HEPG2-01/Plate1/B03_s1_w2.png",)
    assert "images/HEPG2-01/Plate1/B03_s1_w2.png" in told.findings[1].message
    for faults in ("drop", "keep-blank"):
        packed = datasets.pack(screen, tmp_path / faults, settings=datasets.PackSettings(faults=faults))
        assert (packed.inputs, packed.sites, packed.kept_blank) == (4, 2, 0)
        pack = datasets.open_pack(tmp_path / faults)
        rows = {row["well"]: row for row in pack.table.to_pylist()}
        assert rows["B3"]["sirna_id"] == 8
        truth = {one.id.well: one.read() for one in screen.fields}
        assert all(np.array_equal(pack[k], truth[row["well"]]) for k, row in enumerate(pack.table.to_pylist()))
    with pytest.raises(RecipeError, match=r"B2.*duplicate.*images/HEPG2-01/Plate1/B02_s1_w1\.png"):
        datasets.pack(screen, tmp_path / "fail", settings=datasets.PackSettings(faults="fail"))


def test_a_run_has_no_such_policy_and_refuses_copies(doubled):
    settings = catalogs.parse(doubled)
    with pytest.raises(RecipeError, match=r"images/.*B02_s1_w1\.png and more/images/.*1 more copies"):
        catalogs.units(settings, LocalStore(doubled["base"]))


def test_the_folder_names_the_dataset_of_sites_that_no_table_tells_of(tmp_path):
    for dataset, well in (("train", "B02"), ("test", "B03"), ("deep/below/test", "B04")):
        for channel in range(1, 7):
            picture(tmp_path / "images", f"{dataset}/HEPG2-01/Plate1/{well}_s1_w{channel}.png")
    (tmp_path / "metadata.csv").write_text("experiment,plate,well,site\nHEPG2-01,1,B02,1\n")
    found = survey(tmp_path / "images", tmp_path / "metadata.csv")
    assert (found.unannotated, found.absent) == (2, ())
    assert [(one.id.well, one.annotation["dataset"], one.annotation["experiment"]) for one in found.units] == [
        ("B2", "train", "HEPG2-01"), ("B3", "test", "HEPG2-01"), ("B4", "test", "HEPG2-01"),
    ]  # fmt: skip
    settings = datasets.PackSettings(strategy="random")
    source = {"catalog": "rxrx", "base": str(tmp_path / "images"), "metadata": str(tmp_path / "metadata.csv")}
    told = datasets.pack(datasets.open_screen(source), tmp_path / "pack", settings=settings)
    assert (told.sites, told.shards) == (3, 2)


def test_believed_files_of_rxrx3_are_named_without_w_and_have_one_site(tmp_path):
    for channel in range(1, 7):
        picture(tmp_path, f"gene-088/Plate9/Z43_s1_{channel}.png")
    (tmp_path / "wells.csv").write_text("experiment_name,plate,address,gene\ngene-088,9,Z43,BRCA1\n")
    source = {"catalog": "rxrx", "base": str(tmp_path), "metadata": str(tmp_path / "wells.csv")}
    listed, believed = (datasets.open_screen({**source, "listing": listing}) for listing in (True, False))
    assert (believed.fields, listed.absent) == (listed.fields, ())
    assert datasets.audit(believed).findings == ()
    planes = {
        naming: survey(tmp_path, tmp_path / "wells.csv", listing=False, naming=naming).units[0].planes[0].key
        for naming in ("w", "number")
    }
    assert planes == {"w": "gene-088/Plate9/Z43_s1_w1.png", "number": "gene-088/Plate9/Z43_s1_1.png"}
