"""Numbers of all rows of a source, gathered piece by piece without a second copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

_SLACK = 8


class Growing:
    """An array that pieces are added to; its memory is moved by the system where it must grow, not copied beside."""

    def __init__(self, dtype: DTypeLike, width: tuple[int, ...] = ()) -> None:
        """No rows yet, each to be of shape `width`."""
        self._held: NDArray[Any] = np.empty((0, *width), dtype)
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    def add(self, piece: NDArray[Any]) -> None:
        """Add rows at the end."""
        rows = self._rows + len(piece)
        if rows > len(self._held):
            self._resize(rows + rows // _SLACK)
        self._held[self._rows : rows] = piece
        self._rows = rows

    def taken(self) -> NDArray[Any]:
        """All rows, which this object holds no longer."""
        self._resize(self._rows)
        found = self._held
        self._held, self._rows = np.empty((0, *found.shape[1:]), found.dtype), 0
        return found

    def _resize(self, rows: int) -> None:
        # Nobody else refers to the array before it is taken.
        self._held.resize((rows, *self._held.shape[1:]), refcheck=False)
