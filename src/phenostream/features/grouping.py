"""Passes over a label image that every family stands on: which labels there are, whose pixel is where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phenostream.compiled import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray


@kernel
def present(labels: NDArray[np.int32], largest: int) -> NDArray[np.bool_]:
    """Which numbers from 0 to `largest` occur; 0 always counts as present."""
    seen = np.zeros(largest + 1, np.bool_)
    seen[0] = True
    for label in labels.flat:
        seen[label] = True
    return seen


@kernel
def renumber(labels: NDArray[np.int32], numbers: NDArray[np.int64], largest: int) -> NDArray[np.int32]:
    """`labels` with ``numbers[i]`` replaced by i + 1."""
    table = np.zeros(largest + 1, np.int32)
    for i in range(numbers.size):
        table[numbers[i]] = i + 1
    out = np.empty_like(labels)
    height, width = labels.shape
    for y in range(height):
        for x in range(width):
            out[y, x] = table[labels[y, x]]
    return out


@kernel
def group(
    labels: NDArray[np.int32], n: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    """Flat index, row and column of the pixels of objects 1 to `n`, object by object in raster order; n + 1 borders."""
    height, width = labels.shape
    offsets = np.zeros(n + 2, np.int64)
    for label in labels.flat:
        offsets[label + 1] += 1
    offsets[1] = 0
    for i in range(1, n + 2):
        offsets[i] += offsets[i - 1]
    pixels = np.empty(offsets[n + 1], np.int64)
    rows, cols = np.empty(pixels.size, np.int32), np.empty(pixels.size, np.int32)
    cursor = offsets.copy()
    for y in range(height):
        for x in range(width):
            label = labels[y, x]
            if label > 0:
                k = cursor[label]
                pixels[k], rows[k], cols[k] = y * width + x, y, x
                cursor[label] += 1
    return pixels, rows, cols, offsets[1:]


@kernel
def boxes(labels: NDArray[np.int32], n: int) -> NDArray[np.int64]:
    """(n, 4): first row, first column, last row + 1, last column + 1 of objects 1 to `n`."""
    height, width = labels.shape
    found = np.empty((n, 4), np.int64)
    for i in range(n):
        found[i] = (height, width, 0, 0)
    for y in range(height):
        for x in range(width):
            i = labels[y, x] - 1
            if i >= 0:
                found[i, 0] = min(found[i, 0], y)
                found[i, 1] = min(found[i, 1], x)
                found[i, 2] = max(found[i, 2], y + 1)
                found[i, 3] = max(found[i, 3], x + 1)
    return found
