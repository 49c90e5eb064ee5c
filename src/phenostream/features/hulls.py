"""Convex hulls of objects, and what is read off them: area, widths, the smallest enclosing circle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phenostream.compiled import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray


@kernel
def extremes(
    rows: NDArray[np.int32], cols: NDArray[np.int32], start: int, stop: int, top: int, height: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last column of an object in each row of its box; first > last where a row is empty."""
    first = np.full(height, np.int64(1) << 40)
    last = np.full(height, np.int64(-1))
    for k in range(start, stop):
        y = rows[k] - top
        first[y] = min(first[y], cols[k])
        last[y] = max(last[y], cols[k])
    return first, last


@kernel
def chain(first: NDArray[np.int64], last: NDArray[np.int64], side: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns, from top to bottom, of the hull's left (`side` 1) or right (-1) boundary; no three in a line.

    Andrew (1979), Another efficient algorithm for convex hulls in two dimensions, Inf. Process. Lett. 9(5), 216-219.
    """
    ys = np.empty(first.size, np.int64)
    xs = np.empty(first.size, np.int64)
    count = 0
    for y in range(first.size):
        if first[y] > last[y]:
            continue
        x = first[y] if side == 1 else last[y]
        while count > 1:
            turn = (xs[count - 1] - xs[count - 2]) * (y - ys[count - 2]) - (x - xs[count - 2]) * (
                ys[count - 1] - ys[count - 2]
            )
            if turn * side < 0:
                break
            count -= 1
        ys[count], xs[count] = y, x
        count += 1
    return ys[:count], xs[:count]


@kernel
def hulls(
    rows: NDArray[np.int32], cols: NDArray[np.int32], offsets: NDArray[np.int64], boxes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hull vertices (row, column) of the pixel centres of all objects, and the n + 1 borders between objects.

    Each starts at the upper end of the leftmost column and goes up and right first, round the object.
    """
    n = boxes.shape[0]
    room = 0
    for i in range(n):
        room += 2 * (boxes[i, 2] - boxes[i, 0])
    points = np.empty((room, 2), np.int64)
    borders = np.zeros(n + 1, np.int64)
    count = 0
    for i in range(n):
        top = boxes[i, 0]
        first, last = extremes(rows, cols, offsets[i], offsets[i + 1], top, boxes[i, 2] - top)
        left_y, left_x = chain(first, last, 1)
        right_y, right_x = chain(first, last, -1)
        points[count, 0], points[count, 1] = left_y[0] + top, left_x[0]
        count += 1
        for k in range(right_y.size):
            if k > 0 or right_x[0] != left_x[0]:
                points[count, 0], points[count, 1] = right_y[k] + top, right_x[k]
                count += 1
        for k in range(left_y.size - 1, 0, -1):
            if k < left_y.size - 1 or left_x[k] != right_x[right_y.size - 1]:
                points[count, 0], points[count, 1] = left_y[k] + top, left_x[k]
                count += 1
        _turn(points[borders[i] : count])
        borders[i + 1] = count
    return points[:count], borders


@kernel
def _turn(points: NDArray[np.int64]) -> None:
    """Let the vertex with the smallest column, then row, be the first."""
    start = 0
    for k in range(1, points.shape[0]):
        if (points[k, 1], points[k, 0]) < (points[start, 1], points[start, 0]):
            start = k
    points[:] = np.concatenate((points[start:], points[:start]))


@kernel
def convex_area(first: NDArray[np.int64], last: NDArray[np.int64]) -> int:
    """Pixels whose centre lies in or on the hull of the midpoints of an object's pixel sides.

    Exact: in coordinates doubled so that all those midpoints are whole.
    """
    height = first.size
    low = np.full(2 * height + 1, np.int64(1) << 40)
    high = np.full(2 * height + 1, -(np.int64(1) << 40))
    for y in range(height):
        if first[y] > last[y]:
            continue
        for r in (2 * y, 2 * y + 2):
            low[r] = min(low[r], 2 * first[y])
            high[r] = max(high[r], 2 * last[y])
        low[2 * y + 1] = 2 * first[y] - 1
        high[2 * y + 1] = 2 * last[y] + 1
    left_y, left_x = chain(low, high, 1)
    right_y, right_x = chain(low, high, -1)
    area = 0
    a = b = 0
    for y in range(height):
        r = 2 * y + 1
        while left_y[a + 1] < r:
            a += 1
        while right_y[b + 1] < r:
            b += 1
        # Columns between the two boundaries at this row, by whole-number division: floor(x) and ceil(x) = -floor(-x).
        rise = 2 * (left_y[a + 1] - left_y[a])
        begin = -((-(left_x[a] * (rise // 2) + (left_x[a + 1] - left_x[a]) * (r - left_y[a]))) // rise)
        rise = 2 * (right_y[b + 1] - right_y[b])
        end = (right_x[b] * (rise // 2) + (right_x[b + 1] - right_x[b]) * (r - right_y[b])) // rise
        area += end - begin + 1
    return area


@kernel
def widths(points: NDArray[np.int64]) -> tuple[float, float]:
    """Widest and narrowest distance between parallel lines that touch the hull `points` from both sides."""
    count = points.shape[0]
    widest = np.int64(0)
    narrowest = np.inf
    for a in range(count):
        b = (a + 1) % count
        down, right = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1]
        reach = np.int64(0)
        for k in range(count):
            y, x = points[k, 0] - points[a, 0], points[k, 1] - points[a, 1]
            widest = max(widest, y * y + x * x)
            reach = max(reach, abs(down * x - right * y))
        if count > 2:
            narrowest = min(narrowest, reach / np.sqrt(down * down + right * right))
    return np.sqrt(widest), narrowest if count > 2 else 0.0


def enclosing_circles(points: NDArray[np.int64], borders: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n, 3): row and column of the centre, and the radius, of the smallest circle round each hull of `hulls`.

    Chrystal (1885), On the problem to construct the minimum circle enclosing n given points in a plane, Proc. Edinburgh
    Math. Soc. 3, 30-33: from any side of the hull, the vertex that sees it under the smallest angle decides. All
    objects take their steps together, so that NumPy's arc cosine, whose rounding decides between vertices on one
    circle and so which pixels count as inside, is the one that CellProfiler uses.
    """
    found = np.zeros((len(borders) - 1, 3))
    sides = np.column_stack([borders[:-1], borders[:-1] + 1])
    left = np.ones(len(found), np.bool_)
    while left.any():
        with np.errstate(invalid="ignore"):
            angles = np.abs(np.arccos(_cosines(points, borders, sides, left)))
        _step(points, borders, angles, sides, left, found)
    return found


@kernel
def _cosines(
    points: NDArray[np.int64], borders: NDArray[np.int64], sides: NDArray[np.int64], left: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """(2, vertices): cosine of the angles at both ends of its object's side, in the triangle with each vertex."""
    out = np.full((2, points.shape[0]), np.nan)
    for i in range(left.size):
        if not left[i]:
            continue
        s, t = sides[i]
        for v in range(borders[i], borders[i + 1]):
            if v not in (s, t):
                out[0, v] = _cosine(points[s], points[t], points[v])
                out[1, v] = _cosine(points[t], points[s], points[v])
    return out


@kernel
def _cosine(at: NDArray[np.int64], one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """Of the angle at `at` between the directions to `one` and `other`."""
    ay, ax = float(one[0] - at[0]), float(one[1] - at[1])
    by, bx = float(other[0] - at[0]), float(other[1] - at[1])
    return float((ay * by + ax * bx) / np.sqrt((ay * ay + ax * ax) * (by * by + bx * bx)))


@kernel
def _step(
    points: NDArray[np.int64],
    borders: NDArray[np.int64],
    angles: NDArray[np.float64],
    sides: NDArray[np.int64],
    left: NDArray[np.bool_],
    found: NDArray[np.float64],
) -> None:
    """Find the circle of each object that is left, or take a vertex as a new end of its side."""
    for i in range(left.size):
        if not left[i]:
            continue
        start, stop = borders[i], borders[i + 1]
        closest, least = -1, np.inf
        for v in range(start, stop):
            angle = np.pi - angles[1, v] - angles[0, v]
            if angle < least:
                closest, least = v, angle
        if closest < 0 or least >= np.pi / 2:
            found[i] = _across(points[sides[i, 0]], points[min(sides[i, 1], stop - 1)])
            left[i] = False
        elif angles[0, closest] <= np.pi / 2 and angles[1, closest] <= np.pi / 2:
            found[i] = _through(points[sides[i, 0]], points[sides[i, 1]], points[closest])
            left[i] = False
        else:
            sides[i, 0 if angles[0, closest] > np.pi / 2 else 1] = closest


@kernel
def _across(a: NDArray[np.int64], b: NDArray[np.int64]) -> tuple[float, float, float]:
    """The circle on the diameter between two points."""
    down, right = float(a[0] - b[0]), float(a[1] - b[1])
    return (a[0] + b[0]) / 2, (a[1] + b[1]) / 2, np.sqrt(down * down + right * right) / 2


@kernel
def _through(a: NDArray[np.int64], b: NDArray[np.int64], c: NDArray[np.int64]) -> tuple[float, float, float]:
    """The circle through three points, in absolute coordinates: pixels on the circle must round as in CellProfiler."""
    twice = 2.0 * (a[1] * (b[0] - c[0]) + b[1] * (c[0] - a[0]) + c[1] * (a[0] - b[0]))
    aa = float(a[0] * a[0] + a[1] * a[1])
    bb = float(b[0] * b[0] + b[1] * b[1])
    cc = float(c[0] * c[0] + c[1] * c[1])
    col = (aa * (b[0] - c[0]) + bb * (c[0] - a[0]) + cc * (a[0] - b[0])) / twice
    row = (aa * (c[1] - b[1]) + bb * (a[1] - c[1]) + cc * (b[1] - a[1])) / twice
    return row, col, np.sqrt((a[0] - row) ** 2 + (a[1] - col) ** 2)
