"""F1 of every class, and their means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from phenostream.benchmark.metrics.confusion import Confusion, confusion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class F1Scores:
    """By class, in the order of the classes, 0 to 1.

    Attributes:
        precision: 0 where nothing was called so.
        recall: 0 where there is no such cell.
        f1: harmonic mean of both, 0 where either is.
        cells: (classes,) true cells.
    """

    precision: Floats
    recall: Floats
    f1: Floats
    cells: NDArray[np.int64]

    @property
    def weighted(self) -> float:
        """Mean of the F1 weighted by the number of true cells."""
        return float(np.average(self.f1, weights=self.cells)) if self.cells.sum() else 0.0

    @property
    def macro(self) -> float:
        """Mean over the classes that have a true cell."""
        return float(self.f1[self.cells > 0].mean()) if self.cells.any() else 0.0

    @property
    def accuracy(self) -> float:
        """Share of cells that were called right."""
        return float((self.recall * self.cells).sum() / max(self.cells.sum(), 1))


def f1(truth: ArrayLike, called: ArrayLike, classes: Sequence[str]) -> F1Scores:
    """Precision, recall and F1 by class; arguments and errors as :func:`.confusion`."""
    return from_confusion(confusion(truth, called, classes))


def from_confusion(counts: NDArray[np.int64]) -> F1Scores:
    """The same from counts (classes, classes), true classes in rows."""
    right, cells, called = np.diag(counts).astype(float), counts.sum(axis=1), counts.sum(axis=0)
    precision = right / np.maximum(called, 1)
    recall = right / np.maximum(cells, 1)
    return F1Scores(precision, recall, 2 * right / np.maximum(cells + called, 1), cells)


class F1:
    """The same from batches."""

    def __init__(self, classes: Sequence[str]) -> None:
        """Keep the classes."""
        self._confusion = Confusion(classes)

    def update(self, truth: ArrayLike, called: ArrayLike) -> None:
        """Count one batch."""
        self._confusion.update(truth, called)

    def compute(self) -> F1Scores:
        """Scores so far."""
        return from_confusion(self._confusion.compute())
