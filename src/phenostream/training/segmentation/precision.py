"""How well found objects agree with drawn ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

THRESHOLDS = np.arange(50, 91, 5) / 100


def matches(truth: NDArray[np.int32], found: NDArray[np.int32]) -> NDArray[np.int64]:
    """True positives, false positives and false negatives (3, 9) at overlaps of more than 0.50 to 0.90.

    From 0.5 on an object overlaps at most one other so much: no assignment is needed.

    Args:
        truth: (Y, X); 0 is background, numbers may have gaps.
        found: (Y, X), likewise.
    """
    width = int(found.max(initial=0)) + 1
    joint = np.bincount(truth.ravel().astype(np.int64) * width + found.ravel())
    table = np.pad(joint, (0, -joint.size % width)).reshape(-1, width)
    own, other = table.sum(axis=1), table.sum(axis=0)
    i, j = np.nonzero(table[1:, 1:])
    shared = table[i + 1, j + 1]
    overlap = shared / (own[i + 1] + other[j + 1] - shared)
    hits = (overlap[:, None] > THRESHOLDS).sum(axis=0)
    return np.stack([hits, (other[1:] > 0).sum() - hits, (own[1:] > 0).sum() - hits])


def precision(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Average precision TP / (TP + FP + FN) (N, 9) of counts (N, 3, 9); 0 where there is nothing to find or found."""
    return np.asarray(counts[:, 0] / np.maximum(counts.sum(axis=1), 1), np.float64)
