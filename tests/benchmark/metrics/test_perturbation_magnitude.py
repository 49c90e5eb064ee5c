"""Energy distances against SciPy in one dimension, and against loops."""

import numpy as np
import pytest
from scipy import stats

from phenostream.benchmark.metrics.perturbation_magnitude import (
    PerturbationMagnitude,
    distances,
    energy_distance,
    perturbation_magnitude,
)
from phenostream.errors import EmptyError

RNG = np.random.default_rng(0)
VALUES = RNG.normal(size=(40, 3))
GROUPS = np.concatenate([np.repeat([0, 1], 6), np.repeat(2, 4), np.full(24, -1)])
CONTROLS = GROUPS < 0


def test_in_one_dimension_it_is_the_square_of_scipys() -> None:
    for _ in range(10):
        x, y = RNG.normal(size=9), RNG.normal(1, 2, size=14)
        assert abs(energy_distance(x[:, None], y[:, None]) - stats.energy_distance(x, y) ** 2) < 1e-12


def test_it_is_the_definition_in_any_dimension() -> None:
    found = perturbation_magnitude(VALUES, GROUPS, CONTROLS)
    for one in (0, 1):
        assert abs(found.value[one] - energy_distance(VALUES[one == GROUPS], VALUES[CONTROLS])) < 1e-12
    assert np.isnan(found.value[2])
    assert found.members.tolist() == [6, 6, 4]


def test_weights_of_one_are_the_definition_and_copies_are_no_rows() -> None:
    figure = distances(VALUES, GROUPS, np.flatnonzero(CONTROLS))
    plain = [energy_distance(VALUES[one == GROUPS], VALUES[CONTROLS]) for one in range(3)]
    np.testing.assert_allclose(figure(np.ones(40)), plain, atol=1e-12)
    np.testing.assert_allclose(figure(np.full(40, 5.0)), plain, atol=1e-12)
    drawn = np.array([figure(np.bincount(RNG.integers(40, size=40), minlength=40)) for _ in range(3000)])
    spread = np.nanstd(drawn, axis=0) / np.sqrt(3000)
    assert (np.abs(np.nanmean(drawn, axis=0) - plain) < 0.02 + 4 * spread).all()


def test_an_effect_is_told_from_none() -> None:
    groups = np.concatenate([np.repeat(np.arange(20), 6), np.full(200, -1)])
    values = RNG.normal(size=(320, 4))
    none = perturbation_magnitude(values, groups, groups < 0, draws=500)
    assert none.share <= 0.25
    assert perturbation_magnitude(values + 2 * (groups[:, None] >= 0), groups, groups < 0, draws=500).share == 1.0


def test_at_most_a_thousand_controls_are_compared() -> None:
    values = RNG.normal(size=(1505, 2))
    groups = np.concatenate([np.zeros(5, int), np.full(1500, -1)])
    found = perturbation_magnitude(values, groups, groups < 0, draws=100, rng=1)
    again = perturbation_magnitude(values, groups, groups < 0, draws=100, rng=1)
    whole = energy_distance(values[:5], values[5:])
    assert found.value[0] == again.value[0] != whole
    assert abs(found.value[0] - whole) < 0.1


def test_batches_are_one_table() -> None:
    whole = PerturbationMagnitude(draws=50)
    whole.update(VALUES[:9], GROUPS[:9], CONTROLS[:9])
    whole.update(VALUES[9:], GROUPS[9:], CONTROLS[9:])
    expected = perturbation_magnitude(VALUES, GROUPS, CONTROLS, draws=50)
    np.testing.assert_array_equal(whole.compute().value, expected.value)


def test_controls_are_needed() -> None:
    with pytest.raises(EmptyError):
        perturbation_magnitude(VALUES, GROUPS, np.zeros(40, bool))
