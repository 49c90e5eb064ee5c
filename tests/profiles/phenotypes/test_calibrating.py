"""Temperatures: found again where they are known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss as sklearn_log_loss

from phenostream.profiles.phenotypes.calibrating import fit_temperature, log_loss, probabilities


def test_a_known_temperature_is_found_again() -> None:
    rng = np.random.default_rng(0)
    decisions = rng.normal(size=(20_000, 4))
    truth = (rng.random(20_000)[:, None] > np.cumsum(probabilities(decisions, 1.0), axis=1)).sum(axis=1)
    assert fit_temperature(3 * decisions, truth) == pytest.approx(3, rel=0.05)


def test_the_loss_is_scikit_learns() -> None:
    rng = np.random.default_rng(1)
    decisions, truth = rng.normal(size=(50, 3)), rng.integers(0, 3, 50)
    expected = sklearn_log_loss(truth, probabilities(decisions, 2.0), labels=[0, 1, 2])
    assert log_loss(decisions, truth, 2.0) == pytest.approx(expected)
