"""Matches against SciPy's optimal assignment."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment

from phenostream.training.segmentation.precision import THRESHOLDS, matches, precision

LABELS = arrays(np.int32, (5, 6), elements=st.integers(0, 4))


@given(LABELS, LABELS)
def test_as_by_optimal_assignment(truth, found):
    names = [np.setdiff1d(one, [0]) for one in (truth, found)]
    overlap = np.zeros((names[0].size, names[1].size))
    for row, a in enumerate(names[0]):
        for column, b in enumerate(names[1]):
            overlap[row, column] = ((truth == a) & (found == b)).sum() / ((truth == a) | (found == b)).sum()
    for place, threshold in enumerate(THRESHOLDS):
        pairs = linear_sum_assignment(-(overlap > threshold).astype(float))
        hits = int((overlap[pairs] > threshold).sum())
        told = matches(truth, found)[:, place]
        assert told.tolist() == [hits, names[1].size - hits, names[0].size - hits]


def test_precision():
    counts = np.zeros((2, 3, 9), np.int64)
    counts[0, :, 0] = 6, 1, 3
    assert precision(counts)[:, 0].tolist() == [0.6, 0.0]
