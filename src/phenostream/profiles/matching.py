"""Points of two sets paired one to one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Places = NDArray[np.int64]


def match_points(
    first: NDArray[np.float64], second: NDArray[np.float64], limit: float
) -> tuple[Places, Places, NDArray[np.float64]]:
    """The pairing with the least cost, where a pair costs its distance and two points left alone cost `limit`.

    Points that could only be paired among themselves are solved by themselves, so that a field of thousands of cells
    costs no more than its crowded corners.

    Args:
        first: (n, 2) points, finite.
        second: (m, 2) points, finite.
        limit: no pair lies further apart.

    Returns:
        Places in `first`, places in `second`, distances; ascending by place in `first`.
    """
    nearby = KDTree(first).sparse_distance_matrix(KDTree(second), limit, output_type="coo_matrix")
    rows, columns = np.asarray(nearby.row), np.asarray(nearby.col)
    size = len(first) + len(second)
    links = coo_array((np.ones(len(rows), np.int8), (rows, columns + len(first))), shape=(size, size))
    count, part = connected_components(links, directed=False)
    parts = part[: len(first)], part[len(first) :]
    mine, theirs = (np.bincount(one, minlength=count) for one in parts)
    # Where one point has one neighbour, and that one no other, there is nothing to decide.
    clear = (mine == 1) & (theirs == 1)
    pairs = [np.column_stack([_in_order(one, clear) for one in parts])]
    members = [_members(one, count) for one in parts]
    crowded = np.flatnonzero((mine > 0) & (theirs > 0) & ~clear)
    pairs += [_assigned(first, second, members[0][one], members[1][one], limit) for one in crowded]
    found = np.concatenate(pairs)
    found = found[np.argsort(found[:, 0], kind="stable")]
    return found[:, 0], found[:, 1], np.hypot(*(first[found[:, 0]] - second[found[:, 1]]).T)


def _assigned(
    first: NDArray[np.float64], second: NDArray[np.float64], mine: Places, theirs: Places, limit: float
) -> Places:
    apart = np.hypot(*(first[mine][:, None] - second[theirs][None]).transpose(2, 0, 1))
    rows, columns = linear_sum_assignment(np.minimum(apart, limit))
    near = apart[rows, columns] <= limit
    return np.column_stack([mine[rows[near]], theirs[columns[near]]])


def _in_order(part: NDArray[np.int32], chosen: NDArray[np.bool_]) -> Places:
    """Places of the points whose part is chosen, by the number of their part."""
    places = np.flatnonzero(chosen[part])
    return np.asarray(places[np.argsort(part[places], kind="stable")])


def _members(part: NDArray[np.int32], count: int) -> list[Places]:
    order = np.argsort(part, kind="stable")
    return np.split(order, np.searchsorted(part[order], np.arange(1, count)))
