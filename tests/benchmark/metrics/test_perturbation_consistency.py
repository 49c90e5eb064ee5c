"""Consistency against scikit-learn's cosines, pair by pair."""

from itertools import combinations

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from phenostream.benchmark.metrics.perturbation_consistency import (
    PerturbationConsistency,
    directions,
    mean_cosines,
    perturbation_consistency,
)
from phenostream.errors import EmptyError, NotFiniteError, WrongShapeError

RNG = np.random.default_rng(0)
VALUES = RNG.normal(size=(60, 5))
GROUPS = np.concatenate([np.repeat(np.arange(6), 5), np.full(1, 6), np.full(29, -1)])
CONTROLS = GROUPS < 0


def pairwise(values: np.ndarray) -> float:
    near = cosine_similarity(values)
    return float(np.mean([near[i, j] for i, j in combinations(range(len(values)), 2)]))


def test_it_is_the_mean_over_all_pairs() -> None:
    found = perturbation_consistency(VALUES, GROUPS, CONTROLS)
    expected = [pairwise(VALUES[one == GROUPS]) for one in range(6)]
    np.testing.assert_allclose(found.value[:6], expected, atol=1e-12)
    assert np.isnan(found.value[6])
    assert found.members.tolist() == [5] * 6 + [1]


def test_what_is_drawn_twice_is_no_pair() -> None:
    weights = RNG.integers(0, 3, size=60).astype(float)
    drawn = np.repeat(np.arange(60), weights.astype(int))
    for one in range(6):
        rows = drawn[GROUPS[drawn] == one]
        pairs = [(i, j) for i, j in combinations(rows.tolist(), 2) if i != j]
        near = cosine_similarity(VALUES)
        expected = np.mean([near[i, j] for i, j in pairs]) if pairs else np.nan
        np.testing.assert_allclose(mean_cosines(directions(VALUES), GROUPS, weights)[one], expected, atol=1e-12)


def test_control_perturbations_are_the_null_where_there_are_enough() -> None:
    groups = np.concatenate([np.repeat(np.arange(5), 4), 100 + np.repeat(np.arange(25), 3)])
    values = RNG.normal(size=(95, 4))
    found = perturbation_consistency(values, groups, groups >= 100)
    null = np.sort([pairwise(values[groups == one]) for one in range(100, 125)])
    np.testing.assert_allclose(found.null, null, atol=1e-12)
    expected = 1 - np.searchsorted(null, found.value) / 25
    np.testing.assert_allclose(found.p_value, expected)


def test_a_drawn_null_has_the_size_of_the_groups_and_the_right_level() -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(size=(600, 6))
    groups = np.concatenate([np.repeat(np.arange(60), 5), np.full(300, -1)])
    found = perturbation_consistency(values, groups, groups < 0, draws=2000)
    assert len(found.null) == 2000
    assert 0.0 <= found.share <= 0.15  # no effect: 5 % expected of 60
    shifted = values + 3 * (groups[:, None] >= 0) * rng.normal(size=(61, 6))[groups]
    assert perturbation_consistency(shifted, groups, groups < 0).share > 0.9


def test_batches_are_one_table() -> None:
    whole = PerturbationConsistency(draws=50)
    whole.update(VALUES[:20], GROUPS[:20], CONTROLS[:20])
    whole.update(VALUES[20:], GROUPS[20:], CONTROLS[20:])
    one = perturbation_consistency(VALUES, GROUPS, CONTROLS, draws=50)
    np.testing.assert_array_equal(whole.compute().p_value, one.p_value)


def test_bad_input_is_named() -> None:
    with pytest.raises(WrongShapeError):
        perturbation_consistency(VALUES, GROUPS[:3], CONTROLS)
    with pytest.raises(EmptyError, match="no profile is a control"):
        perturbation_consistency(VALUES, GROUPS, np.zeros(60, bool))
    with pytest.raises(NotFiniteError):
        perturbation_consistency(VALUES * np.nan, GROUPS, CONTROLS)
    with pytest.raises(NotFiniteError, match="no direction"):
        perturbation_consistency(VALUES * 0, GROUPS, CONTROLS)
