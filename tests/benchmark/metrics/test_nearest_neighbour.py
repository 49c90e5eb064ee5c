"""Nearest neighbours beside scikit-learn, and the rules on treatments made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import pairwise_distances

from phenostream.benchmark.metrics.nearest_neighbour import NearestNeighbour, nearest_neighbour
from phenostream.errors import NotFiniteError, WrongShapeError


@pytest.mark.parametrize("similarity", ["correlation", "cosine", "euclidean"])
def test_neighbours_are_those_of_scikit_learn_without_the_own_compound(similarity: str) -> None:
    rng = np.random.default_rng(0)
    values, drugs, aims = rng.normal(size=(80, 12)), rng.integers(0, 20, 80), rng.integers(0, 5, 80)
    apart = pairwise_distances(values, metric=similarity)
    apart[drugs[:, None] == drugs] = np.inf
    found = nearest_neighbour(values, aims, drugs, similarity=similarity)
    np.testing.assert_array_equal(found.neighbour, apart.argmin(axis=1))
    assert found.accuracy == pytest.approx((aims[apart.argmin(axis=1)] == aims).mean())


def test_the_batch_rule_forbids_whoever_shares_a_batch() -> None:
    values = np.array([[1.0, 0.0, 0.1], [0.9, 0.1, 0.1], [0.8, 0.3, 0.1], [0.0, 1.0, 0.2]])
    aims, drugs = ["x", "x", "x", "y"], ["a", "b", "c", "d"]
    batches = [frozenset("1"), frozenset("1"), frozenset("12"), frozenset("3")]
    free = nearest_neighbour(values, aims, drugs, similarity="cosine")
    np.testing.assert_array_equal(free.neighbour[:3], [1, 0, 1])
    bound = nearest_neighbour(values, aims, drugs, batches=batches, similarity="cosine")
    np.testing.assert_array_equal(bound.neighbour, [3, 3, 3, 2])
    assert bound.accuracy == 0
    assert not bound.answerable.any()
    assert np.isnan(bound.answerable_accuracy)


def test_without_another_compound_nothing_is_asked() -> None:
    found = nearest_neighbour(np.eye(3), ["x"] * 3, ["a"] * 3, similarity="cosine")
    assert (found.neighbour == -1).all()
    assert np.isnan(found.accuracy)


def test_batches_of_treatments_give_the_same() -> None:
    rng = np.random.default_rng(1)
    values, drugs, aims = rng.normal(size=(30, 4)), rng.integers(0, 9, 30), rng.integers(0, 3, 30)
    metric = NearestNeighbour()
    metric.update(values[:10], aims[:10], drugs[:10])
    metric.update(values[10:], aims[10:], drugs[10:])
    np.testing.assert_array_equal(metric.compute().neighbour, nearest_neighbour(values, aims, drugs).neighbour)


def test_bad_profiles_are_refused() -> None:
    with pytest.raises(NotFiniteError):
        nearest_neighbour([[1.0, np.nan], [1.0, 2.0]], ["x", "y"], ["a", "b"])
    with pytest.raises(WrongShapeError):
        nearest_neighbour(np.eye(2), ["x"], ["a", "b"])
