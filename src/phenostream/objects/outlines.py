"""Outlines: the outer ring of pixels of every object, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from skimage.measure import label

from phenostream.objects.labels import checked

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Indices = NDArray[np.int64]

# The eight neighbours (y, x), clockwise on the screen from the west.
_RING = np.array([(0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1)])
_TURNS = (np.arange(8)[:, None] + np.arange(8)) % 8


def outlines(labels: NDArray[Any]) -> list[NDArray[np.int64]]:
    """The outer contour of every object, as Cellpose and OpenCV trace it.

    Consecutive points are 8-connected pixels of the object that lie on its outer border, clockwise on the screen from
    its first pixel in raster order; the last is a neighbour of the first. Pixels of one-pixel-wide parts are passed
    twice. Holes have no outline; of an object in several pieces the largest is outlined.

    All objects are traced at once (Moore neighbourhood with the two-pixel stopping rule; Suzuki and Abe 1985,
    doi:10.1016/0734-189X(85)90016-7), so that time goes with the longest outline and not with the number of objects.

    Args:
        labels: (Y, X) integers; 0 and less is background.

    Returns:
        One (K, 2) int64 array of (y, x) an object, ascending label.
    """
    pieces = np.pad(_connected(checked(labels)), 1)
    starts = _starts(pieces, labels)
    steps = _RING[:, 0] * pieces.shape[1] + _RING[:, 1]
    owner, place = _trace(pieces.ravel(), starts, steps)
    points = np.stack(np.divmod(place, pieces.shape[1]), axis=1) - 1
    return np.split(points, np.flatnonzero(np.diff(owner)) + 1) if starts.size else []


def _connected(labels: NDArray[Any]) -> NDArray[Any]:
    """8-connected pieces of equal label, numbered."""
    return np.asarray(label(np.maximum(labels, 0), connectivity=2))  # type: ignore[no-untyped-call]


def _starts(pieces: NDArray[Any], labels: NDArray[Any]) -> Indices:
    """Flat index into the padded `pieces` of the first pixel of each object's largest piece, ascending label."""
    inside = np.flatnonzero(pieces)
    code = pieces.ravel()[inside]
    first = np.zeros(code.max(initial=0) + 1, np.int64)
    first[code[::-1]] = inside[::-1]
    first = first[1:]
    y, x = np.divmod(first, pieces.shape[1])
    order = np.lexsort((-np.bincount(code, minlength=first.size + 1)[1:], labels[y - 1, x - 1]))
    return first[order][np.unique(labels[y - 1, x - 1][order], return_index=True)[1]]


def _trace(flat: NDArray[Any], starts: Indices, steps: Indices) -> tuple[Indices, Indices]:
    """Walk all borders in step; returns (object, flat place) of every point, objects ascending, points in order."""
    own, around = flat[starts], steps[_TURNS]
    place, back = starts.copy(), np.zeros(starts.size, np.int64)  # the west of a first pixel is never its own
    alive, second = np.arange(starts.size), np.full(starts.size, -1)
    walked, who = [], []
    while alive.size:
        mine = flat[place[:, None] + around[back]] == own[alive, None]
        turn = _TURNS[back, mine.argmax(axis=1)]
        ahead = place + steps[turn]
        go = (place != starts[alive]) | (ahead != second[alive])
        walked.append(place[go])
        who.append(alive[go])
        fresh = second[alive] < 0
        second[alive[fresh]] = ahead[fresh]
        go &= mine.any(axis=1)  # a lone pixel has nowhere to go
        alive, place, back = alive[go], ahead[go], ((turn + 6 - turn % 2) % 8)[go]
    if not walked:
        return starts, starts
    owner = np.concatenate(who)
    order = np.argsort(owner, kind="stable")
    return owner[order], np.concatenate(walked)[order]
