"""Orders: permutations that favour no place, balance that is exact, batches that hold what they promise."""

from collections import Counter

import numpy as np
import pyarrow.compute as pc
import pytest
from scipy import stats

from phenostream.datasets.loading import Balanced, Groups, InOrder, Shuffled, Windows, dice
from phenostream.datasets.loading.orders import _values_of_batches
from phenostream.datasets.loading.units import Units, choose, codes, joint_codes
from phenostream.errors import EmptyError, OutOfRangeError, RecipeError


@pytest.fixture
def units(pack):
    return Units(pack, choose(pack, None))


def draws(order, units, epochs, batch_size=8):
    return np.stack([order.draw(units, dice.key(epoch), batch_size) for epoch in range(epochs)])


@pytest.mark.parametrize("order", [InOrder(), Shuffled(), Windows(window=24, run=6), Windows(window=7, run=7)])
def test_each_unit_comes_once(order, units):
    for found in draws(order, units, 5):
        assert sorted(found) == list(range(len(units)))


@pytest.mark.parametrize("order", [Shuffled(), Windows(window=24, run=6)])
def test_every_unit_is_alike_to_come_anywhere(order, units):
    """Chi-square of (unit, place) over many epochs: no cell is favoured."""
    units = Units(units.pack, np.arange(60))
    found = draws(order, units, 3000)
    counts = np.zeros((60, 12))
    np.add.at(counts, (found, np.arange(60) // 5), 1)
    assert stats.chisquare(counts.ravel()).pvalue > 1e-3


def test_a_full_shuffle_has_no_memory_of_neighbours(units):
    found = draws(Shuffled(), units, 500)
    apart = np.abs(np.diff(found, axis=1))
    n = len(units)
    expected = np.array([2 * (n - gap) / (n * (n - 1)) for gap in range(1, n)])
    counts = np.bincount(apart.ravel(), minlength=n)[1:]
    assert stats.chisquare(counts, expected * counts.sum()).pvalue > 1e-3


def test_windows_keep_neighbours_on_disk_near_each_other(units):
    places = units.places()
    for found in draws(Windows(window=24, run=8), units, 5):
        for start in range(0, len(units), 24):
            window = np.sort(places[found[start : start + 24]])
            breaks = np.count_nonzero(np.diff(window) != 1)
            # Runs of 8, one of them cut by each end of the window and one where the ring closes.
            assert breaks <= 24 // 8 + 2
    with pytest.raises(RecipeError, match="runs of 9 in windows of 8"):
        Windows(window=8, run=9)


def test_places_are_those_on_disk(pack):
    units = Units(pack, choose(pack, np.arange(len(pack))[::-1]))
    by_place = units.sites[np.argsort(units.places())]
    told = list(zip(pack.shard_numbers[by_place], pack.offsets[by_place], strict=True))
    assert told == sorted(told)


@pytest.mark.parametrize("per_value", [0, 1, 20])
def test_balance_is_exact_and_spares_no_site(units, per_value):
    order = Balanced("sirna_id", per_value)
    told = units.codes("sirna_id")
    for found in draws(order, units, 3):
        values = Counter(told[found].tolist())
        assert len({*values.values()}) == 1
        assert len(values) == len({*told.tolist()})
        assert per_value in (0, next(iter(values.values())))
        often = Counter(found.tolist())
        for value in values:
            own = [often[unit] for unit in np.flatnonzero(told == value)]
            assert max(own) - min(own) <= 1
    assert not np.array_equal(*draws(order, units, 2))


def test_groups_hold_what_they_promise(units):
    told, experiments = units.codes("sirna_id"), units.codes("experiment")
    chunks = np.bincount(told) // 3
    for found in draws(Groups("sirna_id", each=3, across="experiment"), units, 20, batch_size=12):
        assert len({*found}) == len(found)
        batches = found.reshape(-1, 4, 3)
        for batch in batches:
            assert (told[batch] == told[batch][:, :1]).all()
            assert len({*told[batch][:, 0]}) == 4
        # One batch more would need more places than the values can fill, each once a batch.
        assert np.minimum(chunks, len(batches) + 1).sum() < 4 * (len(batches) + 1)
        # Some value's first three are from the three experiments; later ones may repeat where sites are missing.
        threes = found.reshape(-1, 3)
        firsts = [threes[np.flatnonzero(told[threes[:, 0]] == value)[0]] for value in {*told[found].tolist()}]
        assert all(len({*experiments[first]}) == 3 for first in firsts)


def test_an_uneven_screen_gives_all_the_batches_that_it_can():
    """Values so unlike that careless drawing would strand the large ones."""
    for left in ([9, 3, 3, 3], [5, 5, 5], [1, 1, 1, 1, 20], [4, 3, 2, 1]):
        for key in range(20):
            found = _values_of_batches(np.array(left), 2, dice.key(key))
            used = np.bincount(found.ravel(), minlength=len(left))
            assert (used <= left).all()
            assert all(one[0] != one[1] for one in found)
            assert len(found) == min(sum(left) // 2, sum(left) - max(left))  # pairs of different things


def test_one_experiment_a_batch(units):
    told = units.codes("experiment")
    for found in draws(Groups("experiment", each=8), units, 3):
        assert all(len({*told[batch]}) == 1 for batch in found.reshape(-1, 8))


def test_values_that_are_not_there(pack, units):
    dark = Units(pack, choose(pack, None))
    dark.codes = lambda column: np.full(len(dark), -1)  # as a column of nothing but nulls
    for order in (Balanced("sirna_id"), Groups("sirna_id", 2)):
        with pytest.raises(EmptyError, match="value of sirna_id"):
            order.draw(dark, dice.key(0), 8)
    with pytest.raises(RecipeError, match="no column 'gene'"):
        Balanced("gene").draw(units, dice.key(0), 8)
    with pytest.raises(RecipeError, match="3 units a value in a batch of 8"):
        Groups("sirna_id", 3).draw(units, dice.key(0), 8)
    with pytest.raises(RecipeError, match="a batch needs 50"):
        Groups("sirna_id", 2).draw(units, dice.key(0), 100)


def test_sites_are_chosen_by_number_mask_and_filter(pack):
    told = np.array(pack.table["dataset"].to_pylist())
    train = np.flatnonzero(told == "train")
    for chosen in (train.tolist(), told == "train", pc.field("dataset") == "train"):
        assert np.array_equal(choose(pack, chosen), train)
    with pytest.raises(OutOfRangeError, match=f"site {len(pack)} of"):
        choose(pack, [0, len(pack)])
    with pytest.raises(OutOfRangeError, match="a mask of shape"):
        choose(pack, np.ones(3, bool))
    with pytest.raises(EmptyError, match="no site is chosen"):
        choose(pack, pc.field("dataset") == "validation")
    with pytest.raises(RecipeError, match="does not fit the index"):
        choose(pack, pc.field("gene") == 1)


def test_wells_are_units(pack):
    units = Units(pack, choose(pack, None), ("plate", "well"))
    rows = pack.table.select(["plate", "well"]).to_pylist()
    assert len(units) == len({(row["plate"], row["well"]) for row in rows})
    sites, groups = units.members(np.arange(len(units))[::-1])
    assert sorted(sites) == list(range(len(pack)))
    for group in range(len(units)):
        wells = {(rows[site]["plate"], rows[site]["well"]) for site in sites[groups == group]}
        assert len(wells) == 1
    assert np.all(np.diff(groups) >= 0)
    assert units.largest == 2
    assert {*np.diff(units.starts).tolist()} == {1, 2}


def test_codes_number_values_in_order(pack):
    found, values = codes(pack.table, "sirna_id")
    told = pack.table["sirna_id"].to_pylist()
    assert values == sorted({*told})
    assert [values[code] for code in found] == told
    joint = joint_codes(pack.table, ["plate", "well"])
    rows = list(zip(*(pack.table[name].to_pylist() for name in ("plate", "well")), strict=True))
    assert len({*zip(joint.tolist(), rows, strict=True)}) == len({*rows}) == len({*joint.tolist()})
