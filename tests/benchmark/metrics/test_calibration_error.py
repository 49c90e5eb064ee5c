"""Calibration error by hand, and on probabilities that are true by construction."""

from __future__ import annotations

import numpy as np
import pytest

from phenostream.benchmark.metrics.calibration_error import CalibrationError, calibration_error
from phenostream.errors import WrongShapeError


def test_by_hand() -> None:
    chances = [[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.2, 0.8]]
    # Bins of width 0.5: all four in the upper one, mean confidence 0.8, half of them right.
    assert calibration_error(["a", "b", "b", "a"], chances, ("a", "b"), bins=2) == pytest.approx(0.3)


def test_true_probabilities_have_little_error_and_sharpened_ones_much() -> None:
    rng = np.random.default_rng(0)
    chances = rng.dirichlet(np.ones(3), 20_000)
    truth = np.array(["a", "b", "c"])[(rng.random(20_000)[:, None] > np.cumsum(chances, axis=1)).sum(axis=1)]
    assert calibration_error(truth, chances, ("a", "b", "c")) < 0.015
    sharp = chances**3 / (chances**3).sum(axis=1, keepdims=True)
    assert calibration_error(truth, sharp, ("a", "b", "c")) > 0.1


def test_batches_give_the_same() -> None:
    rng = np.random.default_rng(1)
    chances, truth = rng.dirichlet(np.ones(2), 50), rng.choice(["a", "b"], 50)
    metric = CalibrationError(("a", "b"))
    metric.update(truth[:20], chances[:20])
    metric.update(truth[20:], chances[20:])
    assert metric.compute() == pytest.approx(calibration_error(truth, chances, ("a", "b")))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(WrongShapeError):
        calibration_error(["a"], [[1.0]], ("a", "b"))
