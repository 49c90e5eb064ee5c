"""Confusion: how many cells of each class are called what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phenostream.benchmark.metrics._gathered import labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


def confusion(truth: ArrayLike, called: ArrayLike, classes: Sequence[str]) -> NDArray[np.int64]:
    """Counts (classes, classes): rows are true classes, columns what was called.

    Args:
        truth: (n,) true class of each cell.
        called: (n,) predicted class.
        classes: names and order of rows and columns.

    Raises:
        WrongShapeError: a value that is no class, or lengths that differ.
    """
    size = len(classes)
    flat = labels(truth, classes) * size + labels(called, classes)
    return np.bincount(flat, minlength=size * size).reshape(size, size)


class Confusion:
    """The same from batches."""

    def __init__(self, classes: Sequence[str]) -> None:
        """Keep the classes."""
        self.classes = tuple(classes)
        self._counts = np.zeros((len(self.classes), len(self.classes)), np.int64)

    def update(self, truth: ArrayLike, called: ArrayLike) -> None:
        """Count one batch."""
        self._counts += confusion(truth, called, self.classes)

    def compute(self) -> NDArray[np.int64]:
        """Counts so far."""
        return self._counts.copy()
