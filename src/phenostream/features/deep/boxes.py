"""Where the objects of a label image lie: centres by centroid or by outline, and their sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phenostream.compiled import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray


@kernel
def centroids(labels: NDArray[np.int32], n: int) -> NDArray[np.float64]:
    """(n, 3): centroid (y, x) in pixels, and area in pixels, of objects 1 to `n`."""
    found = np.zeros((n, 3), np.float64)
    height, width = labels.shape
    for y in range(height):
        for x in range(width):
            i = labels[y, x] - 1
            if i >= 0:
                found[i, 0] += y
                found[i, 1] += x
                found[i, 2] += 1
    for i in range(n):
        if found[i, 2] > 0:
            found[i, :2] /= found[i, 2]
    return found


@kernel
def outline_means(labels: NDArray[np.int32], n: int) -> NDArray[np.float64]:
    """(n, 2): mean (y, x) of the points of each object's outline, as Cellpose draws it and IDR_stream averages it.

    The outline is walked by Moore neighbourhoods, each pixel as often as the walk comes by; of an object in several
    pieces the one with the longest outline counts, the first of equals.
    """
    height, width = labels.shape
    found = np.zeros((n, 2), np.float64)
    longest = np.zeros(n, np.int64)
    walked = np.zeros((height, width), np.bool_)
    for y in range(height):
        for x in range(width):
            own = labels[y, x]
            if own > 0 and not walked[y, x] and _is_top(labels, y, x):
                sum_y, sum_x, steps, turning = _walk(labels, walked, y, x)
                # Borders of holes are walked the other way round.
                if turning >= 0 and steps > longest[own - 1]:
                    longest[own - 1] = steps
                    found[own - 1, 0], found[own - 1, 1] = sum_y / steps, sum_x / steps
    return found


@kernel
def _is_top(labels: NDArray[np.int32], y: int, x: int) -> bool:
    """Whether neither the west nor the three neighbours above belong to the same object."""
    own = labels[y, x]
    if x > 0 and labels[y, x - 1] == own:
        return False
    if y == 0:
        return True
    for place in range(max(x - 1, 0), min(x + 2, labels.shape[1])):  # noqa: SIM110  (compiled)
        if labels[y - 1, place] == own:
            return False
    return True


@kernel
def _walk(labels: NDArray[np.int32], walked: NDArray[np.bool_], y: int, x: int) -> tuple[float, float, int, int]:
    """Sums of y and x over the points of the border that starts at a top, their number, and twice the signed area."""
    height, width = labels.shape
    # The eight neighbours, clockwise on the screen from the west.
    down, across = (0, -1, -1, -1, 0, 1, 1, 1), (-1, -1, 0, 1, 1, 1, 0, -1)
    own = labels[y, x]
    here_y, here_x, back = y, x, 0
    sum_y, sum_x, steps, turning = 0.0, 0.0, 0, 0
    second_y, second_x = -1, -1
    while True:
        walked[here_y, here_x] = True
        turn = -1
        for k in range(8):
            way = (back + k) % 8
            next_y, next_x = here_y + down[way], here_x + across[way]
            if 0 <= next_y < height and 0 <= next_x < width and labels[next_y, next_x] == own:
                turn = way
                break
        if turn < 0:
            return float(y), float(x), 1, 0
        next_y, next_x = here_y + down[turn], here_x + across[turn]
        if steps > 0 and here_y == y and here_x == x and next_y == second_y and next_x == second_x:
            return sum_y, sum_x, steps, turning
        if steps == 0:
            second_y, second_x = next_y, next_x
        sum_y, sum_x, steps = sum_y + here_y, sum_x + here_x, steps + 1
        turning += here_x * next_y - next_x * here_y
        here_y, here_x, back = next_y, next_x, (turn + 6 - turn % 2) % 8
