"""At which place the true class stands among the probabilities of a cell: 1 is best."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phenostream.benchmark.metrics._gathered import Gathered, labels
from phenostream.errors import WrongShapeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


def true_class_rank(truth: ArrayLike, probabilities: ArrayLike, classes: Sequence[str]) -> NDArray[np.float64]:
    """Rank (n,) of each cell's true class; classes of equal probability share the mean of their ranks.

    Args:
        truth: (n,) true class.
        probabilities: (n, classes).
        classes: names, in the order of the columns.

    Raises:
        WrongShapeError: shapes that do not fit, or a truth that is no class.
    """
    values, place = np.asarray(probabilities, float), labels(truth, classes)
    if values.shape != (len(place), len(classes)):
        raise WrongShapeError(f"probabilities {values.shape} for {len(place)} cells and {len(classes)} classes")
    own = values[np.arange(len(place)), place][:, None]
    return np.asarray((values > own).sum(axis=1) + ((values == own).sum(axis=1) + 1) / 2)


def rank_counts(ranks: ArrayLike, truth: ArrayLike, classes: Sequence[str]) -> NDArray[np.int64]:
    """Counts (classes, classes): cells of each true class by rank, 1 first; half ranks count as the worse one."""
    place = np.ceil(np.asarray(ranks)).astype(np.int64) - 1
    flat = labels(truth, classes) * len(classes) + place
    return np.bincount(flat, minlength=len(classes) ** 2).reshape(len(classes), len(classes))


class TrueClassRank(Gathered):
    """Mean rank by class (classes,), NaN for a class without a cell, from batches."""

    def __init__(self, classes: Sequence[str]) -> None:
        """Keep the classes."""
        super().__init__()
        self.classes = tuple(classes)

    def update(self, truth: ArrayLike, probabilities: ArrayLike) -> None:
        """Rank one batch."""
        self.keep(labels(truth, self.classes), true_class_rank(truth, probabilities, self.classes))

    def compute(self) -> NDArray[np.float64]:
        """Mean rank by class so far."""
        place, ranks = self.joined()
        count = np.bincount(place, minlength=len(self.classes))
        total = np.bincount(place, ranks, minlength=len(self.classes))
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)
