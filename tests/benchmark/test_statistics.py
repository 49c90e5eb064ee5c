"""Statistics beside SciPy and statsmodels' definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from phenostream.benchmark.statistics import (
    benjamini_hochberg,
    bootstrap,
    exchanged_blocks,
    leave_one_out,
    permutation_p_value,
    permuted_within,
)
from phenostream.errors import NotFiniteError, RecipeError, WrongShapeError


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_benjamini_hochberg_is_scipys_and_steps_over_gaps(values: list[float]) -> None:
    np.testing.assert_allclose(benjamini_hochberg(values), stats.false_discovery_control(values))
    holes = benjamini_hochberg([np.nan, *values, np.nan])
    np.testing.assert_allclose(holes[1:-1], stats.false_discovery_control(values))
    assert np.isnan(holes[[0, -1]]).all()


def test_a_p_value_is_never_zero() -> None:
    null = np.arange(99.0)
    np.testing.assert_allclose(permutation_p_value([98.5, 98, 0, -1, np.nan], null), [0.01, 0.02, 1, 1, np.nan])


def test_the_bootstrap_of_single_rows_is_scipys() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(3, 1, 200)
    found = bootstrap(lambda rows: float(values[rows].mean()), np.arange(200), draws=4000)
    told = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=0).confidence_interval
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((told.low, told.high), abs=0.02)


def test_groups_that_agree_inside_widen_the_interval_as_theory_says() -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(50), 20)
    values = rng.normal(size=50)[groups] + 0.1 * rng.normal(size=1000)
    wide = bootstrap(lambda rows: float(values[rows].mean()), groups, draws=2000)
    narrow = bootstrap(lambda rows: float(values[rows].mean()), np.arange(1000), draws=2000)
    assert wide.groups == 50
    means = [values[groups == one].mean() for one in range(50)]
    assert wide.high - wide.low == pytest.approx(2 * 1.96 * np.std(means, ddof=1) / np.sqrt(50), rel=0.1)
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


def test_draws_without_value_do_not_count() -> None:
    found = bootstrap(lambda rows: float("nan") if 0 in rows else 1.0, np.arange(3), draws=100)
    assert found.draws < 100
    assert (found.low, found.high) == (1, 1)


def test_one_group_is_left_out_at_a_time() -> None:
    found = list(leave_one_out(["b", "a", "b"]))
    assert [(name, rest.tolist(), own.tolist()) for name, rest, own in found] == [
        ("a", [0, 2], [1]),
        ("b", [1], [0, 2]),
    ]


def test_shuffling_inside_groups_keeps_them_apart() -> None:
    groups = np.repeat([0, 1], 50)
    values = np.arange(100)
    made = permuted_within(values, groups)
    assert sorted(made[:50]) == list(range(50))
    assert not np.array_equal(made, values)


def test_groups_exchange_their_values_as_wholes() -> None:
    groups = np.repeat(["b", "a", "c"], [5, 2, 3])[[0, 5, 1, 7, 2, 6, 3, 8, 4, 9]]
    seen = set()
    for rows in exchanged_blocks(groups, 200):
        taken = {one: groups[rows][groups == one] for one in "abc"}
        assert all(len(set(values)) == 1 for values in taken.values())
        assert {values[0] for values in taken.values()} == {"a", "b", "c"}
        seen.add(tuple(values[0] for values in taken.values()))
        # A longer group takes all of a shorter one, over and over, in the order of its rows.
        place = np.searchsorted(np.flatnonzero(groups == taken["b"][0]), rows[groups == "b"])
        np.testing.assert_array_equal(np.diff(place) % (groups == taken["b"][0]).sum(), np.ones(4))
    assert len(seen) == 6


def test_groups_of_one_row_are_permuted_as_ever() -> None:
    drawn = np.array(list(exchanged_blocks(np.arange(4), 4000, rng=1)))
    np.testing.assert_array_equal(np.sort(drawn, axis=1), np.tile(np.arange(4), (4000, 1)))
    _, counts = np.unique(drawn, axis=0, return_counts=True)
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 0.001


def test_bad_input_is_named() -> None:
    with pytest.raises(RecipeError, match="outside"):
        benjamini_hochberg([0.5, 1.5])
    with pytest.raises(WrongShapeError):
        benjamini_hochberg([[0.5]])
    with pytest.raises(WrongShapeError):
        permutation_p_value(1.0, [])
    with pytest.raises(NotFiniteError):
        permutation_p_value(1.0, [np.nan, 1.0])
    with pytest.raises(RecipeError, match="two groups"):
        bootstrap(lambda rows: 1.0, [1, 1])
    with pytest.raises(RecipeError, match="level"):
        bootstrap(lambda rows: 1.0, [1, 2], level=95)
    with pytest.raises(RecipeError, match="two or more"):
        list(leave_one_out([1, 1]))
