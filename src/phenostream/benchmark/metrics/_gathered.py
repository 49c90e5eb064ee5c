"""What most metrics' classes are: batches kept until the value is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from phenostream.errors import EmptyError, WrongShapeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class Gathered:
    """Batches of arrays of equal length, joined when the value is asked for."""

    def __init__(self) -> None:
        """Start without a batch."""
        self._batches: list[tuple[NDArray[Any], ...]] = []

    def keep(self, *arrays: ArrayLike) -> None:
        """Add one batch. Raises WrongShapeError where lengths differ."""
        batch = tuple(np.asarray(one) for one in arrays)
        if len({len(one) for one in batch}) > 1:
            raise WrongShapeError(f"arrays of lengths {[len(one) for one in batch]} in one batch")
        self._batches.append(batch)

    def joined(self) -> tuple[NDArray[Any], ...]:
        """All batches as one. Raises EmptyError where there was none."""
        if not self._batches:
            raise EmptyError("nothing was given to this metric", remedy="call update first")
        return tuple(np.concatenate(column) for column in zip(*self._batches, strict=True))


def labels(values: ArrayLike, classes: ArrayLike) -> NDArray[np.intp]:
    """(n,) place in `classes` of each value. Raises WrongShapeError for a value that is none of them."""
    known = np.asarray(classes)
    given = np.asarray(values)
    order = np.argsort(known)
    place = np.searchsorted(known, given, sorter=order).clip(0, len(known) - 1)
    found = order[place]
    if given.ndim != 1 or (known[found] != given).any():
        raise WrongShapeError("labels that are not among the classes", remedy=f"classes: {', '.join(map(str, known))}")
    return np.asarray(found)
