"""Confusion beside scikit-learn."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import confusion_matrix

from phenostream.benchmark.metrics.confusion import Confusion, confusion

CLASSES = ("z", "a", "m")


def test_it_is_scikit_learns_in_the_order_of_the_classes() -> None:
    rng = np.random.default_rng(0)
    truth, called = rng.choice(CLASSES, (2, 200))
    np.testing.assert_array_equal(confusion(truth, called, CLASSES), confusion_matrix(truth, called, labels=CLASSES))


def test_batches_add_up() -> None:
    metric = Confusion(CLASSES)
    metric.update(["z", "a"], ["z", "m"])
    metric.update(["a"], ["a"])
    np.testing.assert_array_equal(metric.compute(), [[1, 0, 0], [0, 1, 1], [0, 0, 0]])
