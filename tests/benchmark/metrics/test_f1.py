"""F1 beside scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

from phenostream.benchmark.metrics.f1 import F1, f1
from phenostream.errors import WrongShapeError

CLASSES = ("a", "b", "c", "d")


def calls() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = rng.choice(["a", "b", "c"], 300, p=[0.6, 0.3, 0.1])
    return truth, np.where(rng.random(300) < 0.6, truth, rng.choice(list(CLASSES), 300))


def test_it_is_scikit_learns() -> None:
    truth, called = calls()
    found = f1(truth, called, CLASSES)
    told = precision_recall_fscore_support(truth, called, labels=CLASSES, zero_division=0)
    np.testing.assert_allclose([found.precision, found.recall, found.f1, found.cells], told, rtol=1e-12)
    assert found.weighted == pytest.approx(f1_score(truth, called, average="weighted", labels=CLASSES, zero_division=0))
    assert found.macro == pytest.approx(f1_score(truth, called, average="macro", labels=CLASSES[:3], zero_division=0))
    assert found.accuracy == pytest.approx(accuracy_score(truth, called))


def test_batches_give_the_same() -> None:
    truth, called = calls()
    metric = F1(CLASSES)
    for part in range(3):
        metric.update(truth[part::3], called[part::3])
    np.testing.assert_array_equal(metric.compute().f1, f1(truth, called, CLASSES).f1)


def test_a_label_that_is_no_class_is_refused() -> None:
    with pytest.raises(WrongShapeError, match="not among the classes"):
        f1(["a"], ["z"], CLASSES)
