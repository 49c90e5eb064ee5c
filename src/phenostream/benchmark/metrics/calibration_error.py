"""Whether probabilities mean what they say: of the cells called with 80 %, are 80 % right?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phenostream.benchmark.metrics._gathered import Gathered, labels
from phenostream.errors import WrongShapeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike


def calibration_error(truth: ArrayLike, probabilities: ArrayLike, classes: Sequence[str], *, bins: int = 15) -> float:
    """Expected calibration error of the most probable class, equal-width bins (Guo et al. 2017, equation 3).

    Args:
        truth: (n,) true class.
        probabilities: (n, classes), rows sum to one.
        classes: names, in the order of the columns.
        bins: of equal width between 0 and 1.

    Raises:
        WrongShapeError: shapes that do not fit, or a truth that is no class.
    """
    values, place = np.asarray(probabilities, float), labels(truth, classes)
    if values.shape != (len(place), len(classes)):
        raise WrongShapeError(f"probabilities {values.shape} for {len(place)} cells and {len(classes)} classes")
    return _error(values.max(axis=1), values.argmax(axis=1) == place, bins)


def _error(confidence: ArrayLike, right: ArrayLike, bins: int) -> float:
    sure, hit = np.asarray(confidence, float), np.asarray(right, float)
    code = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    gap = np.bincount(code, sure, minlength=bins) - np.bincount(code, hit, minlength=bins)
    return float(np.abs(gap).sum() / max(len(sure), 1))


class CalibrationError(Gathered):
    """The same from batches."""

    def __init__(self, classes: Sequence[str], *, bins: int = 15) -> None:
        """Keep the classes and the number of bins."""
        super().__init__()
        self.classes, self.bins = tuple(classes), bins

    def update(self, truth: ArrayLike, probabilities: ArrayLike) -> None:
        """Keep what one batch was called, how surely, and whether rightly."""
        values = np.asarray(probabilities, float)
        self.keep(values.max(axis=1), values.argmax(axis=1) == labels(truth, self.classes))

    def compute(self) -> float:
        """The error so far."""
        sure, right = self.joined()
        return _error(sure, right, self.bins)
