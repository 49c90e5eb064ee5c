"""Precision against recall of one class against all others, and average precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from phenostream.benchmark.metrics._gathered import Gathered
from phenostream.errors import NotFiniteError, WrongShapeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PrecisionRecall:
    """One point a distinct score, from strict to lenient; starts at recall 0, precision 1.

    Attributes:
        recall: (points,) ascending.
        precision: (points,).
        average_precision: sum of precision times gain in recall, NaN without a positive cell.
    """

    recall: Floats
    precision: Floats
    average_precision: float

    def thinned(self, points: int = 100) -> tuple[Floats, Floats]:
        """Recall and precision at no more than `points` points evenly along the curve, ends included."""
        keep = np.unique(np.linspace(0, len(self.recall) - 1, min(points, len(self.recall))).astype(int))
        return self.recall[keep], self.precision[keep]


def precision_recall(positive: ArrayLike, score: ArrayLike) -> PrecisionRecall:
    """The curve of one class, the step-wise one that scikit-learn computes (no interpolation).

    Args:
        positive: (n,) whether the cell is of the class.
        score: (n,) its probability, or any number that grows with it.

    Raises:
        WrongShapeError: lengths that differ.
        NotFiniteError: a score that is no number.
    """
    truth, value = np.asarray(positive, bool), np.asarray(score, float)
    if truth.ndim != 1 or truth.shape != value.shape:
        raise WrongShapeError(f"truth {truth.shape} and scores {value.shape} do not fit")
    if not np.isfinite(value).all():
        raise NotFiniteError("scores that are no numbers", remedy="leave these cells out, counted")
    order = np.argsort(-value, kind="stable")
    last = np.flatnonzero(np.diff(value[order], append=-np.inf))
    found = np.cumsum(truth[order])[last]
    if not truth.any():
        return PrecisionRecall(np.zeros(1), np.ones(1), float("nan"))
    recall, precision = found / truth.sum(), found / (last + 1)
    average = float((np.diff(recall, prepend=0.0) * precision).sum())
    return PrecisionRecall(np.r_[0.0, recall], np.r_[1.0, precision], average)


class PrecisionRecallCurve(Gathered):
    """The same from batches."""

    def update(self, positive: ArrayLike, score: ArrayLike) -> None:
        """Keep one batch."""
        self.keep(positive, score)

    def compute(self) -> PrecisionRecall:
        """The curve so far."""
        return precision_recall(*self.joined())
