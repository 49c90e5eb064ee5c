"""Accuracy of calls: first place, first k places, and balanced over classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from phenostream.benchmark.metrics._gathered import Gathered
from phenostream.errors import EmptyError, NotFiniteError, WrongShapeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How often calls are right.

    Attributes:
        top1: share whose true class has the highest score; a tie for the first place is shared out evenly.
        top5: share whose true class is among the five highest, ties likewise.
        balanced: mean over the true classes of their own shares (top 1).
        count: calls.
    """

    top1: float
    top5: float
    balanced: float
    count: int


def found_within(scores: ArrayLike, truth: ArrayLike, places: int = 1) -> NDArray[np.float64]:
    """How far the true class is among the `places` highest scores: 1, 0, or its fair share where scores are tied.

    Args:
        scores: (n, classes); -inf for classes that are ruled out.
        truth: (n,) number of the true class; -1 for none of them, which is never found.
        places: from the top.

    Raises:
        WrongShapeError: shapes that do not fit, or a number that is no class.
        NotFiniteError: NaN among the scores.
    """
    values, label = np.asarray(scores, float), np.asarray(truth)
    if values.ndim != 2 or label.shape != (len(values),):
        raise WrongShapeError(f"scores {values.shape} for {label.shape} true classes")
    if len(label) and (label.min() < -1 or label.max() >= values.shape[1]):
        raise WrongShapeError(f"true classes outside of 0..{values.shape[1] - 1}", remedy="-1 says none of them")
    if np.isnan(values).any():
        raise NotFiniteError("NaN among the scores", remedy="leave these rows out, counted")
    own = values[np.arange(len(label)), np.maximum(label, 0)]
    above = (values > own[:, None]).sum(axis=1)
    tied = (values == own[:, None]).sum(axis=1)
    share = np.clip((places - above) / np.maximum(tied, 1), 0, 1)
    return np.where((label >= 0) & np.isfinite(own), share, 0.0)


def accuracy(scores: ArrayLike, truth: ArrayLike) -> Accuracy:
    """All shares of (n, classes) scores. Raises as `found_within`, and EmptyError without a row."""
    first, label = found_within(scores, truth), np.asarray(truth)
    if not len(label):
        raise EmptyError("no calls to judge")
    balanced = float(np.mean([first[label == one].mean() for one in np.unique(label)]))
    return Accuracy(float(first.mean()), float(found_within(scores, truth, 5).mean()), balanced, len(label))


class Accuracies(Gathered):
    """The same from batches."""

    def update(self, scores: ArrayLike, truth: ArrayLike) -> None:
        """Keep one batch."""
        self.keep(scores, truth)

    def compute(self) -> Accuracy:
        """Of all batches."""
        return accuracy(*self.joined())
