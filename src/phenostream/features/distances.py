"""Distances inside objects: to the nearest pixel outside, and along paths from a centre."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phenostream.compiled import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WIDE = 32
_DIAGONAL = np.sqrt(2.0)


@kernel
def to_outside(
    rows: NDArray[np.int32],
    cols: NDArray[np.int32],
    offsets: NDArray[np.int64],
    boxes: NDArray[np.int64],
    shape: tuple[int, int],
    walls: bool,  # noqa: FBT001
    out: NDArray[np.int64],
) -> None:
    """Write the squared Euclidean distance of every object pixel to the nearest pixel that is not of its object.

    With `walls` whatever lies beyond the image is outside. Without, the image border is no edge, an object that fills
    the image is at distance 2**40 everywhere, and only objects at the border are written: the others are as they were.
    Exact: two integer passes, columns then rows.
    """
    for i in range(boxes.shape[0]):
        top, left, bottom, right = boxes[i]
        if not walls and top > 0 and left > 0 and bottom < shape[0] and right < shape[1]:
            continue
        up = _columns(rows, cols, offsets[i], offsets[i + 1], boxes[i], walls or top > 0, walls or bottom < shape[0])
        near = np.empty_like(up)
        for y in range(up.shape[0]):
            _row(up[y], near[y], walls or left > 0, walls or right < shape[1])
        for k in range(offsets[i], offsets[i + 1]):
            out[k] = near[rows[k] - top, cols[k] - left]


@kernel
def _columns(
    rows: NDArray[np.int32],
    cols: NDArray[np.int32],
    start: int,
    stop: int,
    box: NDArray[np.int64],
    above: bool,  # noqa: FBT001
    below: bool,  # noqa: FBT001
) -> NDArray[np.int64]:
    """Squared distance to the nearest outside pixel in the same column, over the object's box."""
    height, width = box[2] - box[0], box[3] - box[1]
    gap = np.zeros((height, width), np.int64)
    for k in range(start, stop):
        gap[rows[k] - box[0], cols[k] - box[1]] = 1
    far = np.int64(1) << 20
    for x in range(width):
        run = np.int64(0) if above else far
        for y in range(height):
            run = min(run + 1, far) if gap[y, x] else np.int64(0)
            gap[y, x] = run
        run = np.int64(0) if below else far
        for y in range(height - 1, -1, -1):
            run = min(run + 1, far) if gap[y, x] else np.int64(0)
            gap[y, x] = min(gap[y, x], run)
    return gap * gap


@kernel
def _row(up: NDArray[np.int64], near: NDArray[np.int64], before: bool, after: bool) -> None:  # noqa: FBT001
    """Smallest ``(x - u)**2 + up[u]`` over u, with zeros before and after the row where these are outside."""
    if up.max() > _WIDE * _WIDE:
        _row_envelope(up, near, before, after)
        return
    width = up.size
    for x in range(width):
        best = up[x]
        step = 1
        while step * step < best and (step <= x + 1 or step <= width - x):
            for u in (x - step, x + step):
                if 0 <= u < width:
                    best = min(best, step * step + up[u])
                elif (u == -1 and before) or (u == width and after):
                    best = min(best, step * step)
            step += 1
        near[x] = best


@kernel
def _row_envelope(up: NDArray[np.int64], near: NDArray[np.int64], before: bool, after: bool) -> None:  # noqa: FBT001
    """The same for wide objects, whose cost must not grow with the distance: lower envelope of parabolas.

    Felzenszwalb, Huttenlocher (2012), Distance Transforms of Sampled Functions, Theory of Computing 8, 415-428.
    """
    width = up.size
    sites = np.empty(width + 2, np.int64)
    heights = np.empty(width + 2, np.int64)
    starts = np.empty(width + 3)
    last = -1
    for u in range(-1, width + 1):
        if (u == -1 and not before) or (u == width and not after):
            continue
        height = up[u] if 0 <= u < width else np.int64(0)
        start = -np.inf
        while last >= 0:
            start = (height + u * u - heights[last] - sites[last] * sites[last]) / (2.0 * (u - sites[last]))
            if start > starts[last]:
                break
            last -= 1
        if last < 0:
            start = -np.inf
        last += 1
        sites[last], heights[last], starts[last] = u, height, start
    starts[last + 1] = np.inf
    k = 0
    for x in range(width):
        while starts[k + 1] < x:
            k += 1
        near[x] = (x - sites[k]) ** 2 + heights[k]


@kernel
def from_centre(inside: NDArray[np.bool_], row: int, col: int) -> NDArray[np.float64]:
    """Length of the shortest path of king's moves (1 straight, sqrt 2 diagonal) within `inside` from a pixel.

    `inside` has a border of False; pixels that cannot be reached, and those outside, are at infinity. Sweeps to and fro
    until nothing changes: the result is the unique fixed point, whatever the order.
    """
    height, width = inside.shape
    path = np.full((height, width), np.inf)
    path[row, col] = 0.0
    changed = True
    while changed:
        changed = False
        for y in range(1, height - 1):
            for x in range(1, width - 1):
                if inside[y, x]:
                    best = min(path[y - 1, x], path[y, x - 1]) + 1.0
                    best = min(best, min(path[y - 1, x - 1], path[y - 1, x + 1]) + _DIAGONAL)
                    if best < path[y, x]:
                        path[y, x] = best
                        changed = True
        for y in range(height - 2, 0, -1):
            for x in range(width - 2, 0, -1):
                if inside[y, x]:
                    best = min(path[y + 1, x], path[y, x + 1]) + 1.0
                    best = min(best, min(path[y + 1, x - 1], path[y + 1, x + 1]) + _DIAGONAL)
                    if best < path[y, x]:
                        path[y, x] = best
                        changed = True
    return path
