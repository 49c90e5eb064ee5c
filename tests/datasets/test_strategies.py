"""Strategies: stable under subsets, and the original's partition by its own definition in pandas."""

import random

import numpy as np
import pytest

from phenostream.datasets.strategies import arrange, by_exp_plate_site, identity, padded, place, stable
from phenostream.datasets.strategies import random as shuffled
from phenostream.errors import RecipeError
from phenostream.synthetic.screen import ScreenDesign, fields
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
@pytest.mark.parametrize("datasets", [("train", "test"), ("train",), ("test",)])
def test_random_is_the_partition_of_the_original(seed, datasets):
    """Its definition, in pandas as the original: generators by dataset, rows sorted, `sample`, cut."""
    table = treatments(datasets)
    expected = {}
    for dataset, group in table.groupby("dataset"):
        rows = group.sort_values(["experiment", "plate", "well", "site"]).sample(
            frac=1.0, random_state=generators(seed)[dataset]
        )
        for number, start in enumerate(range(0, len(rows), 20), 1):
            expected[f"random-{seed}/{dataset}/{number:03d}"] = rows["site_id"].tolist()[start : start + 20]
    sites = [field for field in SITES if field.annotation["dataset"] in datasets]
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


def treatments(datasets):
    pandas = pytest.importorskip("pandas")
    rows = []
    for field in SITES:
        experiment, plate, well, site = place(field)
        told = field.annotation
        rows.append({"dataset": told["dataset"], "experiment": experiment, "plate": plate, "well": well, "site": site,
                     "well_type": told["well_type"], "site_id": told["site_id"]})  # fmt: skip
    random.Random(1).shuffle(rows)
    table = pandas.DataFrame(rows)
    return table[table.dataset.isin(datasets) & (table.well_type == "treatment")]


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
