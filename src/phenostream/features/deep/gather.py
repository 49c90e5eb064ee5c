"""Crops cut from a field in compiled loops: bilinear, zero outside of the image, no Python statement a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phenostream.compiled import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Places = NDArray[np.float64]
    Labels = NDArray[np.int32]


@kernel
def ranges(stack: Floats, corners: Places, sides: Places, labels: Labels, own: Labels) -> Floats:
    """(N, C, 2): least and largest pixel of each box, of the object alone where ``own`` is not 0.

    Pixels outside of the image do not count; a box without any pixel gives (0, 0).

    Args:
        stack: (C, Y, X).
        corners: (N, 2), (y, x) of the centre of each box's first pixel.
        sides: (N,) in pixels.
        labels: (Y, X).
        own: (N,) the label that counts in each box, 0 where all do.
    """
    channels, height, width = stack.shape
    found = np.zeros((sides.size, channels, 2), np.float32)
    for n in range(sides.size):
        top, left = max(int(np.ceil(corners[n, 0])), 0), max(int(np.ceil(corners[n, 1])), 0)
        bottom = min(int(np.floor(corners[n, 0] + sides[n] - 1)), height - 1)
        right = min(int(np.floor(corners[n, 1] + sides[n] - 1)), width - 1)
        for c in range(channels):
            low, high = np.float32(np.inf), np.float32(-np.inf)
            for y in range(top, bottom + 1):
                for x in range(left, right + 1):
                    if own[n] == 0 or labels[y, x] == own[n]:
                        value = stack[c, y, x]
                        low, high = min(low, value), max(high, value)
            if low <= high:
                found[n, c, 0], found[n, c, 1] = low, high
    return found


@kernel
def gather(
    stack: Floats, corners: Places, sides: Places, size: int, labels: Labels, own: Labels, limits: Floats
) -> Floats:
    """(N, C, size, size): every box, its pixels scaled to 0..1 between its `limits` and resampled to `size` pixels.

    Samples lie at the centres of equal cells of the box (pixel centres at half pixels, edges of the box repeated), as
    TensorFlow's and PyTorch's bilinear resize have it without aligned corners. Where the box shrinks by more than half
    again, each sample is the mean of a grid of such samples. Pixels outside of the image, or of another object where
    ``own`` is not 0, are zero after scaling; a range of zero gives zeros.

    Args:
        stack: (C, Y, X).
        corners: (N, 2), (y, x) of the centre of each box's first pixel.
        sides: (N,) in pixels.
        size: side of the crops.
        labels: (Y, X).
        own: (N,) the label that is kept in each box, 0 where all are.
        limits: (N, C, 2) values that become 0 and 1.
    """
    channels, height, width = stack.shape
    out = np.zeros((sides.size, channels, size, size), np.float32)
    for n in range(sides.size):
        step = sides[n] / size
        fine = max(1, int(np.rint(step)))
        span = np.empty(size * fine, np.float64)
        for i in range(size * fine):
            span[i] = min(max((i + 0.5) * step / fine - 0.5, 0.0), sides[n] - 1)
        rows, columns = corners[n, 0] + span, corners[n, 1] + span
        last_y, last_x = rows[-1], columns[-1]
        within = rows[0] >= 0 and columns[0] >= 0 and last_y <= height - 1 and last_x <= width - 1
        for c in range(channels):
            low, high = limits[n, c, 0], limits[n, c, 1]
            gain = np.float32(1 / (np.float64(high) - low)) if high > low else np.float32(0)
            if own[n] == 0 and within:
                _sample(stack[c], rows, columns, fine, low, gain, out[n, c])
            else:
                _sample_some(stack[c], rows, columns, fine, low, gain, labels, own[n], out[n, c])
    return out


@kernel
def _sample(
    plane: Floats, rows: Places, columns: Places, fine: int, low: np.float32, gain: np.float32, out: Floats
) -> None:
    """Add the samples at `rows` x `columns`, all of them in the plane, to the cells of `out`."""
    share = np.float32(1 / (fine * fine))
    left = columns.astype(np.int64)
    right = np.minimum(left + 1, plane.shape[1] - 1)
    across = (columns - left).astype(np.float32)
    for i in range(rows.size):
        y0 = int(rows[i])
        upper, lower = plane[y0], plane[min(y0 + 1, plane.shape[0] - 1)]
        dy = np.float32(rows[i] - y0)
        for j in range(columns.size):
            above = upper[left[j]] + (upper[right[j]] - upper[left[j]]) * across[j]
            below = lower[left[j]] + (lower[right[j]] - lower[left[j]]) * across[j]
            out[i // fine, j // fine] += share * ((above + (below - above) * dy - low) * gain)


@kernel
def _sample_some(  # noqa: PLR0913, PLR0917  (compiled code takes arrays, not objects)
    plane: Floats, rows: Places, columns: Places, fine: int, low: np.float32, gain: np.float32, labels: Labels,
    own: int, out: Floats,
) -> None:  # fmt: skip
    """The same, where pixels outside of the plane, or of other objects than `own`, are zero after scaling."""
    height, width = plane.shape
    share = np.float32(1 / (fine * fine))
    for i in range(rows.size):
        y0 = int(np.floor(rows[i]))
        dy = np.float32(rows[i] - y0)
        for j in range(columns.size):
            x0 = int(np.floor(columns[j]))
            dx = np.float32(columns[j] - x0)
            total = np.float32(0)
            for a in range(2):
                for b in range(2):
                    y, x = y0 + a, x0 + b
                    weight = (dy if a else 1 - dy) * (dx if b else 1 - dx)
                    inside = weight > 0 and 0 <= y < height and 0 <= x < width
                    if inside and (own == 0 or labels[y, x] == own):
                        total += weight * (plane[y, x] - low) * gain
            out[i // fine, j // fine] += share * total


@kernel
def gather_deepprofiler(stack: Floats, centres: Places, box: int, size: int) -> Floats:
    """(N, C, size, size): boxes of `box` pixels as DeepProfiler cuts and enlarges them, intensities as they are.

    Twice bilinear, on purpose: first TensorFlow's ``crop_and_resize`` on a box given in shares of the image's sides, so
    that `box` samples spread over ``box (H - 1) / H`` pixels with both ends included, and samples outside of the image
    are zero; then the first-generation ``resize_bilinear`` (corners neither aligned nor at half pixels).

    Args:
        stack: (C, Y, X).
        centres: (N, 2), (y, x) in pixels.
        box: side in pixels.
        size: side of the crops.
    """
    channels, height, width = stack.shape
    out = np.empty((len(centres), channels, size, size), np.float32)
    crop = np.empty((box, box), np.float32)
    for n in range(len(centres)):
        # Single precision, as there: a sample on the last row is in or out by its rounding.
        top = np.float32(np.float32(centres[n, 0] - box / 2) / np.float32(height))
        left = np.float32(np.float32(centres[n, 1] - box / 2) / np.float32(width))
        bottom = np.float32(np.float32(centres[n, 0] + box / 2) / np.float32(height))
        right = np.float32(np.float32(centres[n, 1] + box / 2) / np.float32(width))
        down = np.float32((bottom - top) * np.float32(height - 1) / np.float32(box - 1))
        across = np.float32((right - left) * np.float32(width - 1) / np.float32(box - 1))
        for c in range(channels):
            for i in range(box):
                y = np.float32(top * np.float32(height - 1) + np.float32(i) * down)
                for j in range(box):
                    x = np.float32(left * np.float32(width - 1) + np.float32(j) * across)
                    if y < 0 or y > height - 1 or x < 0 or x > width - 1:
                        crop[i, j] = 0
                        continue
                    y0, x0 = int(np.floor(y)), int(np.floor(x))
                    y1, x1 = int(np.ceil(y)), int(np.ceil(x))
                    dy, dx = np.float32(y - y0), np.float32(x - x0)
                    upper = stack[c, y0, x0] + (stack[c, y0, x1] - stack[c, y0, x0]) * dx
                    lower = stack[c, y1, x0] + (stack[c, y1, x1] - stack[c, y1, x0]) * dx
                    crop[i, j] = upper + (lower - upper) * dy
            _enlarge(crop, out[n, c])
    return out


@kernel
def _enlarge(crop: Floats, out: Floats) -> None:
    box, size = len(crop), len(out)
    scale = np.float32(np.float32(box) / np.float32(size))
    for i in range(size):
        y = np.float32(i) * scale
        y0 = min(int(y), box - 1)
        y1 = min(y0 + 1, box - 1)
        dy = np.float32(y - y0)
        for j in range(size):
            x = np.float32(j) * scale
            x0 = min(int(x), box - 1)
            x1 = min(x0 + 1, box - 1)
            dx = np.float32(x - x0)
            upper = crop[y0, x0] + (crop[y0, x1] - crop[y0, x0]) * dx
            lower = crop[y1, x0] + (crop[y1, x1] - crop[y1, x0]) * dx
            out[i, j] = upper + (lower - upper) * dy
