"""Precision against recall beside scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve

from phenostream.benchmark.metrics.precision_recall import PrecisionRecallCurve, precision_recall
from phenostream.errors import EmptyError, NotFiniteError, WrongShapeError


def scores() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    positive = rng.random(500) < 0.2
    return positive, np.round(rng.normal(size=500) + positive, 1)


def test_it_is_scikit_learns_with_ties() -> None:
    positive, score = scores()
    found = precision_recall(positive, score)
    precision, recall, _ = precision_recall_curve(positive, score)
    np.testing.assert_allclose(found.precision, precision[::-1])
    np.testing.assert_allclose(found.recall, recall[::-1])
    assert found.average_precision == pytest.approx(average_precision_score(positive, score))


def test_batches_give_the_same_curve() -> None:
    positive, score = scores()
    metric = PrecisionRecallCurve()
    metric.update(positive[:100], score[:100])
    metric.update(positive[100:], score[100:])
    assert metric.compute().average_precision == precision_recall(positive, score).average_precision


def test_a_thinned_curve_keeps_its_ends() -> None:
    found = precision_recall(*scores())
    recall, precision = found.thinned(10)
    assert len(recall) <= 10
    assert (recall[0], recall[-1], precision[0]) == (0, 1, 1)


def test_without_a_positive_there_is_no_average() -> None:
    assert np.isnan(precision_recall([False, False], [0.1, 0.2]).average_precision)


def test_bad_scores_are_refused() -> None:
    with pytest.raises(NotFiniteError):
        precision_recall([True, False], [np.nan, 0.2])
    with pytest.raises(WrongShapeError):
        precision_recall([True], [0.1, 0.2])
    with pytest.raises(EmptyError):
        PrecisionRecallCurve().compute()
