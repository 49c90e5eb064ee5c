"""Grey-level reconstruction: what of an image is left when light may flow from a marker, but never above the image.

Vincent (1993), Morphological grayscale reconstruction in image analysis, IEEE Trans. Image Process. 2(2), 176-201: one
scan down and one up settle nearly all pixels. What is left flows from the brightest pixels down, so that none is raised
twice: Robinson, Whelan (2004), Efficient morphological reconstruction: a downhill filter, Pattern Recognit. Lett.
25(15), 1759-1767. So the time grows with the number of pixels only, on noise too, where a queue that is first in, first
out raises the same pixels over and over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from phenostream.compiled import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A level is a power of two in 1024 steps: the first 22 bits of a float64. So many levels reach 64 octaves down.
_SHIFT = 42
_LEVELS = 1 << 16
_NOWHERE = -1
_IDLE = -2


class Flow:
    """Reconstructs markers of one shape; keeps its working memory from one to the next."""

    def __init__(self, shape: tuple[int, int]) -> None:
        """For markers and masks of `shape` (Y, X)."""
        size = shape[0] * shape[1]
        kind = np.int32 if size < np.iinfo(np.int32).max else np.int64
        self._start: NDArray[np.integer[Any]] = np.empty(size, kind)
        self._next: NDArray[np.integer[Any]] = np.full(size, _IDLE, kind)
        self._first: NDArray[np.integer[Any]] = np.full(_LEVELS, _NOWHERE, kind)

    def raise_to(self, marker: NDArray[np.float64], mask: NDArray[np.float64]) -> None:
        """Reconstruct, in place, `marker` (Y, X) under `mask` (Y, X), through straight neighbours.

        Both contiguous, finite, not below 0 (nor -0.0), and nowhere `marker` above `mask`.
        """
        used = _scan(marker, mask, self._start)
        base = int(mask.max().view(np.int64) >> _SHIFT) - (_LEVELS - 1)
        bits = marker.ravel().view(np.int64), mask.ravel().view(np.int64)
        _flow(bits, marker.shape, self._start[:used], self._first, self._next, base)


@kernel
def _scan(marker: NDArray[np.float64], mask: NDArray[np.float64], start: NDArray[np.integer[Any]]) -> int:
    """Let the light flow down the image and up again; how many pixels, written to `start`, still pass some on."""
    height, width = marker.shape
    _along(marker[0], mask[0])
    for y in range(1, height):
        _across(marker[y - 1], marker[y], mask[y])
        _along(marker[y], mask[y])
    used = 0
    for y in range(height - 2, -1, -1):
        _across(marker[y + 1], marker[y], mask[y])
        _along(marker[y], mask[y])
        own, below, limit = marker[y], marker[y + 1], mask[y + 1]
        for x in range(width):
            if below[x] < own[x] and below[x] < limit[x]:
                start[used] = y * width + x
                used += 1
    return used


@kernel
def _across(before: NDArray[np.float64], row: NDArray[np.float64], limit: NDArray[np.float64]) -> None:
    """From one row to the next."""
    for x in range(row.size):
        row[x] = min(limit[x], max(row[x], before[x]))


@kernel
def _along(row: NDArray[np.float64], limit: NDArray[np.float64]) -> None:
    """To the right and to the left."""
    level = row[0]
    for x in range(1, row.size):
        level = min(limit[x], max(level, row[x]))
        row[x] = level
    for x in range(row.size - 2, -1, -1):
        level = min(limit[x], max(level, row[x]))
        row[x] = level


@kernel
def _flow(
    bits: tuple[NDArray[np.int64], NDArray[np.int64]],
    shape: tuple[int, int],
    start: NDArray[np.integer[Any]],
    first: NDArray[np.integer[Any]],
    following: NDArray[np.integer[Any]],
    base: int,
) -> None:
    """Pass light on from `start`, level by level; `first` and `following` are one list of pixels a level, all empty.

    `bits` are those of the floats, which count up as positive floats do. Those of `start` have lists of their own: one
    of them that is raised before its turn comes must pass that on at its new level.
    """
    marker, mask = bits
    height, width = shape
    waiting, after = np.full(first.size, _NOWHERE, first.dtype), np.empty_like(start)
    top = 0
    for k in range(start.size):
        level = max(0, (marker[start[k]] >> _SHIFT) - base)
        after[k], waiting[level] = waiting[level], k
        top = max(top, level)
    for level in range(top, -1, -1):
        while first[level] != _NOWHERE or waiting[level] != _NOWHERE:
            if first[level] != _NOWHERE:
                p = np.int64(first[level])
                first[level], following[p] = following[p], _IDLE
            else:
                p = np.int64(start[waiting[level]])
                waiting[level] = after[waiting[level]]
            y, x = p // width, p % width
            near = ((p - width, y > 0), (p + width, y < height - 1), (p - 1, x > 0), (p + 1, x < width - 1))
            for q, there in near:
                if there and marker[q] < marker[p] and marker[q] < mask[q]:
                    marker[q] = min(marker[p], mask[q])
                    if following[q] == _IDLE:
                        # One of `start` may stand above its level by now: what it gives goes on at once.
                        lower = min(level, max(0, (marker[q] >> _SHIFT) - base))
                        following[q], first[lower] = first[lower], q
