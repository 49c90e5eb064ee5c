"""Accuracy against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from phenostream.benchmark.metrics.accuracy import Accuracies, accuracy, found_within
from phenostream.errors import EmptyError, NotFiniteError, WrongShapeError


@given(st.integers(0, 10_000))
def test_it_is_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(7), rng.integers(7, size=20)])
    scores = rng.normal(size=(27, 7))
    found = accuracy(scores, truth)
    assert abs(found.top1 - metrics.accuracy_score(truth, scores.argmax(1))) < 1e-12
    assert abs(found.balanced - metrics.balanced_accuracy_score(truth, scores.argmax(1))) < 1e-12
    assert abs(found.top5 - metrics.top_k_accuracy_score(truth, scores, k=5)) < 1e-12


def test_ties_are_shared_out_and_cannot_be_won() -> None:
    assert accuracy(np.zeros((9, 4)), np.arange(9) % 4).top1 == 0.25
    assert found_within([[1.0, 1.0, 0.0]], [0], 1).tolist() == [0.5]
    assert found_within([[1.0, 1.0, 0.0]], [2], 2).tolist() == [0.0]
    assert found_within([[-np.inf, -np.inf]], [0], 1).tolist() == [0.0]


def test_what_was_never_learnt_is_never_found() -> None:
    assert found_within(np.eye(2), [-1, 1]).tolist() == [0, 1]


def test_batches_are_one_table() -> None:
    rng = np.random.default_rng(0)
    scores, truth = rng.normal(size=(30, 4)), rng.integers(4, size=30)
    whole = Accuracies()
    whole.update(scores[:11], truth[:11])
    whole.update(scores[11:], truth[11:])
    assert whole.compute() == accuracy(scores, truth)


def test_bad_input_is_named() -> None:
    with pytest.raises(WrongShapeError):
        accuracy(np.zeros((3, 2)), [0, 1])
    with pytest.raises(WrongShapeError, match=r"outside of 0\.\.1"):
        accuracy(np.zeros((2, 2)), [0, 2])
    with pytest.raises(NotFiniteError):
        accuracy([[np.nan, 0]], [0])
    with pytest.raises(EmptyError):
        accuracy(np.zeros((0, 2)), np.zeros(0, int))
