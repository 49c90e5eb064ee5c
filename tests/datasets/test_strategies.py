"""Strategies: stable under subsets, and the original's partition by its own definition in pandas."""

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import zarr

from phenostream import datasets
from phenostream.datasets.strategies import arrange, by_exp_plate_site, identity, padded, place, stable
from phenostream.datasets.strategies import random as shuffled
from phenostream.errors import RecipeError
from phenostream.synthetic.screen import ScreenDesign, fields, write_screen
from phenostream.values import Field, FieldId

SITES = fields(ScreenDesign(plates=2, perturbations=10, missing=0.05, positives=2))


def names(shelves):
    return {shelf.name: [field.annotation["site_id"] for field in shelf.fields] for shelf in shelves}


@pytest.mark.parametrize("strategy", ["stable", "random", "by_exp_plate_site"])
def test_every_site_lies_in_one_place_whatever_the_order(strategy):
    found = names(arrange(SITES, strategy, 3, size=20))
    every = [name for shelf in found.values() for name in shelf]
    assert sorted(every) == sorted(field.annotation["site_id"] for field in SITES)
    again = list(SITES)
    random.Random(0).shuffle(again)
    assert names(arrange(again, strategy, 3, size=20)) == found
    assert names(arrange(SITES, strategy, 4, size=20)) != found


def test_stable_order_of_a_subset_is_that_of_the_whole():
    whole = names(stable(SITES, 1, by=("cell_type",)))
    some = [field for index, field in enumerate(SITES) if index % 3]
    kept = {field.annotation["site_id"] for field in some}
    assert names(stable(some, 1, by=("cell_type",))) == {
        name: [one for one in shelf if one in kept] for name, shelf in whole.items()
    }


def test_stable_order_is_even():
    """Plates of many sites: no relation between a site's place and its well."""
    sites = [Field(FieldId(plate="P", well=f"A{k}")) for k in range(1, 1001)]
    (shelf,) = stable(sites, 5)
    order = np.array([int(field.id.well[1:]) for field in shelf.fields])
    assert abs(np.corrcoef(order, np.arange(1000))[0, 1]) < 0.1


def test_stable_order_is_pinned():
    """A pack written today is continued tomorrow."""
    sites = [Field(FieldId(study="S", plate="P", well=f"A{k}")) for k in range(1, 7)]
    (shelf,) = stable(sites, 42)
    assert [field.id.well for field in shelf.fields] == PINNED


PINNED = ["A5", "A3", "A1", "A4", "A6", "A2"]


@pytest.mark.parametrize("seed", [0, 42, 2**32 - 1])
@pytest.mark.parametrize("wanted", [("train", "test"), ("train",), ("test",)])
def test_random_is_the_partition_of_the_original(seed, wanted):
    """Its definition, in pandas as the original: generators by dataset, rows sorted, `sample`, cut."""
    table = treatments(wanted)
    expected = {}
    for dataset, group in table.groupby("dataset"):
        rows = group.sort_values(["experiment", "plate", "well", "site"]).sample(
            frac=1.0, random_state=generators(seed)[dataset]
        )
        for number, start in enumerate(range(0, len(rows), 20), 1):
            expected[f"random-{seed}/{dataset}/{number:03d}"] = rows["site_id"].tolist()[start : start + 20]
    sites = [field for field in SITES if field.annotation["dataset"] in wanted]
    found = names(shuffled(sites, seed, sites_per_shelf=20))
    assert {name: shelf for name, shelf in found.items() if "_controls" not in name} == expected


@pytest.mark.parametrize("seed", [0, 42])
def test_by_exp_plate_site_is_the_partition_of_the_original(seed):
    table, rng = treatments(("train", "test")), generators(seed)
    expected = {}
    for (dataset, experiment, plate, site), group in table.groupby(["dataset", "experiment", "plate", "site"]):
        rows = group.sort_values(["experiment", "plate", "well", "site"]).sample(frac=1.0, random_state=rng[dataset])
        expected[f"by_exp_plate_site-{seed}/{experiment}_p{plate}_s{site}"] = rows["site_id"].tolist()
    found = names(by_exp_plate_site(SITES, seed))
    assert {name: shelf for name, shelf in found.items() if "_controls" not in name} == expected


def treatments(wanted):
    pandas = pytest.importorskip("pandas")
    rows = []
    for field in SITES:
        experiment, plate, well, site = place(field)
        told = field.annotation
        rows.append({"dataset": told["dataset"], "experiment": experiment, "plate": plate, "well": well, "site": site,
                     "well_type": told["well_type"], "site_id": told["site_id"]})  # fmt: skip
    random.Random(1).shuffle(rows)
    table = pandas.DataFrame(rows)
    return table[table.dataset.isin(wanted) & (table.well_type == "treatment")]


def generators(seed):
    master = np.random.RandomState(seed)
    return {name: np.random.RandomState(master.randint(2**32 - 1)) for name in ("test", "train")}


def test_wells_sort_as_the_original_writes_them():
    assert [padded(well) for well in ("B2", "O23", "AA7")] == ["B02", "O23", "AA07"]


def test_what_a_strategy_needs_is_named():
    nameless = [Field(FieldId(plate="P", well="A1"))]
    with pytest.raises(RecipeError, match="dataset"):
        shuffled(nameless, 0)
    with pytest.raises(RecipeError, match="experiment"):
        shuffled([Field(FieldId(plate="P", well="A1"), annotation={"dataset": "train"})], 0)


def test_names_are_fit_for_paths_and_distinct():
    ids = [FieldId(plate=name, well="A1") for name in ("P/1", "P_1", "..", "P 1", "", "é")]
    shelves = stable([Field(one) for one in ids], 0)
    found = [shelf.name for shelf in shelves]
    assert len({*found}) == len(ids)
    assert all(name and not name.startswith(".") and "/" not in name and name.isascii() for name in found)
    assert "P_1" in found, "a plain name stays"
    pair = [Field(FieldId(plate="a_b", well="A1")), Field(FieldId(plate="a", well="A1"), annotation={"x": "b"})]
    two = stable(pair, 0, by=("plate", "x"))
    assert len({shelf.name for shelf in two}) == 2
    assert identity(Field(ids[1])) == "|P_1|A1|1|0|0"


GAPS = ScreenDesign(
    experiments=("HEPG2-01", "HUVEC-01", "RPE-01"), test_experiments=("HUVEC-01",), plates=2, perturbations=8,
    positives=1, shape=(8, 9), missing=0.15,
)  # fmt: skip


@pytest.fixture(scope="module")
def gaps(tmp_path_factory):
    """A screen of the competition's dialect, whose tables know of sites without images; more of them are damaged."""
    folder = tmp_path_factory.mktemp("gaps")
    write_screen(folder / "screen", GAPS, dialect="kaggle")
    files = sorted((folder / "screen" / "images").rglob("*_w1.png"))
    for path in files[::9]:
        path.write_bytes(path.read_bytes()[:40])
    files[4].unlink()
    source = {
        "catalog": "rxrx",
        "base": str(folder / "screen" / "images"),
        "metadata": str(folder / "screen" / "metadata"),
    }
    return folder, datasets.open_screen(source)


def original(metadata, strategy, seed, size):
    """The original's files, as its description has them, from the tables alone: no image is looked for."""
    pandas = pytest.importorskip("pandas")
    tables = []
    for dataset in ("test", "train"):
        wells = pandas.read_csv(metadata / f"{dataset}.csv").assign(dataset=dataset)
        tables += [wells.assign(site=site) for site in (1, 2)]
    table = pandas.concat(tables).sort_values(["experiment", "plate", "well", "site"], ignore_index=True)
    table["name"] = table.id_code + "_" + table.site.astype(str)
    rng, files = generators(seed), {}
    if strategy == "random":
        for dataset, rows in table.groupby("dataset"):
            names = rows.sample(frac=1.0, random_state=rng[dataset]).name.tolist()
            for start in range(0, len(names), size):
                files[f"random-{seed}/{dataset}/{start // size + 1:03d}"] = names[start : start + size]
        return files
    for (dataset, experiment, plate, site), rows in table.groupby(["dataset", "experiment", "plate", "site"]):
        names = rows.sample(frac=1.0, random_state=rng[dataset]).name.tolist()
        files[f"by_exp_plate_site-{seed}/{experiment}_p{plate}_s{site}"] = names
    return files


@pytest.mark.parametrize("strategy", ["random", "by_exp_plate_site"])
@pytest.mark.parametrize("faults", ["drop", "keep-blank"])
def test_absent_and_damaged_sites_keep_their_places(gaps, tmp_path, strategy, faults):
    """In the arrays of a pack as slots; in the files of an export of any pack, by the places of the others."""
    folder, screen = gaps
    expected = original(folder / "screen" / "metadata", strategy, 7, 10)
    chosen = datasets.PackSettings(strategy=strategy, seed=7, sites_per_shelf=10, faults=faults)
    told = datasets.pack(screen, tmp_path / "own", settings=chosen)
    reasons = Counter(one.reason for one in told.findings)
    assert reasons["damaged"] > 5
    assert reasons["channel-missing"] == 1
    assert reasons["missing"] == len(screen.absent) > 10
    own = datasets.open_pack(tmp_path / "own")
    slots = {
        (row["array"], row["slot"]): row["site_id"] for row in own.table.to_pylist() if "_controls" not in row["array"]
    }
    every = {(name, slot): site for name, sites in expected.items() for slot, site in enumerate(sites)}
    assert slots == {place: site for place, site in every.items() if site in {*slots.values()}}
    sound = {row["site_id"] for row in own.table.to_pylist() if row["fault"] is None}

    datasets.pack(screen, tmp_path / "stable", settings=datasets.PackSettings(faults=faults))
    for name in ("own", "stable"):
        out = tmp_path / f"{name}-tf"
        settings = {"format": "tfrecord", "strategy": strategy, "seed": 7, "sites_per_file": 10}
        datasets.export(datasets.open_pack(tmp_path / name), out, settings)
        files = {}
        for row, _ in datasets.read_export(out):
            files.setdefault(row["file"].removesuffix(".tfrecord"), []).append(row["site_id"])
        left = {file: [site for site in sites if site in sound] for file, sites in expected.items()}
        assert files == {file: sites for file, sites in left.items() if sites}


def test_a_few_images_of_a_large_table_make_the_files_that_have_some(gaps, tmp_path):
    """Of a tenth of the screen: arrays without a site are not written, and the others are where they were."""
    _, screen = gaps
    some = replace(screen, fields=screen.fields[:12])
    gone = screen.fields[12:]
    some = replace(some, absent=(*screen.absent, *(one.id for one in gone)), imageless=(*screen.imageless, *gone))
    settings = datasets.PackSettings(strategy="by_exp_plate_site", seed=3)
    datasets.pack(screen, tmp_path / "all", settings=settings)
    told = datasets.pack(some, tmp_path / "some", settings=settings)
    assert told.inputs == len(screen.fields) + len(screen.absent)
    whole = {
        row["site_id"]: (row["array"], row["slot"]) for row in datasets.open_pack(tmp_path / "all").table.to_pylist()
    }
    part = {
        row["site_id"]: (row["array"], row["slot"]) for row in datasets.open_pack(tmp_path / "some").table.to_pylist()
    }
    assert part == {site: whole[site] for site in part}
    assert len(part) == told.sites > 5
    arrays = {
        path.parent.name for path in (tmp_path / "some" / "images").rglob("zarr.json") if (path.parent / "c").is_dir()
    }
    assert arrays == {name.rpartition("/")[2] for name, _ in part.values()}
    group = zarr.open_group(tmp_path / "some" / "images", mode="r")
    pack = datasets.open_pack(tmp_path / "some")
    for index, (name, slot) in enumerate(part.values()):
        assert np.array_equal(group[name][slot], pack[index])
    assert datasets.estimate(some, settings=settings).shards == told.shards
    assert datasets.verify_pack(tmp_path / "some").faults == ()
    again = datasets.pack(screen, tmp_path / "some", settings=settings)
    assert again.sites == len(datasets.open_pack(tmp_path / "all"))


def test_sites_of_no_table_do_not_move_those_of_treatments():
    """Where others say what they are, a site that does not is in no table of the original."""
    silent = [replace(one, annotation={k: v for k, v in one.annotation.items() if k != "well_type"})
              if one.annotation["well_type"] != "treatment" else one for one in SITES]  # fmt: skip
    assert names(shuffled(silent, 1, sites_per_shelf=20)) == names(shuffled(SITES, 1, sites_per_shelf=20))
    unknown = [replace(one, annotation={k: v for k, v in one.annotation.items() if k != "well_type"}) for one in SITES]
    assert not [name for name in names(shuffled(unknown, 1)) if "_controls" in name]
