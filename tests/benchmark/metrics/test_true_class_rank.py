"""Ranks beside SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata

from phenostream.benchmark.metrics.true_class_rank import TrueClassRank, rank_counts, true_class_rank
from phenostream.errors import WrongShapeError

CLASSES = ("a", "b", "c", "d")


def cells() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.choice(CLASSES[:3], 100), np.round(rng.dirichlet(np.ones(4), 100), 1)


def test_ranks_are_those_of_scipy_with_ties_shared() -> None:
    truth, chances = cells()
    place = [CLASSES.index(one) for one in truth]
    expected = rankdata(-chances, axis=1, method="average")[np.arange(100), place]
    np.testing.assert_array_equal(true_class_rank(truth, chances, CLASSES), expected)


def test_counts_hold_every_cell_once() -> None:
    truth, chances = cells()
    counts = rank_counts(true_class_rank(truth, chances, CLASSES), truth, CLASSES)
    np.testing.assert_array_equal(counts.sum(axis=1), [(truth == one).sum() for one in CLASSES])


def test_means_by_class_from_batches() -> None:
    truth, chances = cells()
    metric = TrueClassRank(CLASSES)
    metric.update(truth[:30], chances[:30])
    metric.update(truth[30:], chances[30:])
    found, ranks = metric.compute(), true_class_rank(truth, chances, CLASSES)
    np.testing.assert_allclose(found[:3], [ranks[truth == one].mean() for one in CLASSES[:3]])
    assert np.isnan(found[3])


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(WrongShapeError):
        true_class_rank(["a"], [[0.5, 0.5]], CLASSES)
