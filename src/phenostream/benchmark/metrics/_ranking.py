"""The inner loops of average precision, compiled: a block of similarities is only compared with, never sorted.

Blocks may be rounded (single precision, or sums in another order). Where rounding could turn a comparison round, the
two profiles are compared again by their whole vectors, in one and the same order of sums: results depend neither on
blocks nor on the library that multiplies matrices, and equal profiles tie exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from phenostream.compiled import kernel

# ruff: noqa: FBT001, PLR0913, PLR0917  (compiled code takes plain arrays and numbers)

#: Positives up to which a row of similarities is compared with one after the other, many numbers at a time.
FEW = 64
#: Similarities that are looked at again, one by one, where some of them are too close to call.
PIECE = 256


@kernel
def alike(values: Any, one: int, other: int, euclidean: bool) -> float:
    """Product of two rows of `values`, or minus the square of their distance."""
    total = 0.0
    if euclidean:
        for place in range(values.shape[1]):
            away = values[one, place] - values[other, place]
            total -= away * away
    else:
        for place in range(values.shape[1]):
            total += values[one, place] * values[other, place]
    return total


@kernel
def partners(query: int, members: Any, span: Any, differ: Any, among: Any, found: Any) -> int:
    """Write the positives of `query` into `found`; how many they are."""
    count = 0
    for place in range(span[0, query], span[1, query]):
        other = members[place]
        allowed = other != query and among[other]
        for column in range(differ.shape[0]):
            allowed = allowed and differ[column, query] != differ[column, other]
        if allowed:
            found[count] = other
            count += 1
    return count


@kernel
def left_out(near: Any, query: int, own: Any, place_of: Any, members: Any, spans: Any) -> int:
    """Put what is no negative of `query` (itself, `own`, who shares a `differ`) last in its row; how many they are."""
    gone = 0
    if place_of[query] >= 0:
        near[place_of[query]] = -np.inf
        gone += 1
    for other in own:
        place = place_of[other]
        if place >= 0 and near[place] != -np.inf:
            near[place] = -np.inf
            gone += 1
    for column in range(members.shape[0]):
        for member in range(spans[column, 0, query], spans[column, 1, query]):
            place = place_of[members[column, member]]
            if place >= 0 and near[place] != -np.inf:
                near[place] = -np.inf
                gone += 1
    return gone


@kernel
def ahead_of_few(
    near: Any, query: int, columns: Any, values: Any, euclidean: bool, slack: float, wanted: Any, ahead: Any
) -> None:  # fmt: skip
    """Write how many of `near` are no less than each of `wanted`."""
    edges = np.empty(2, near.dtype)
    for place in range(wanted.shape[0]):
        edges[0], edges[1] = wanted[place] + slack, wanted[place] - slack
        # In the type of the block and out of memory: the loop then compares many numbers at a time.
        above, below = edges[0], edges[1]
        sure = 0
        for start in range(0, near.shape[0], PIECE):
            stop = min(start + PIECE, near.shape[0])
            certain, perhaps = 0, 0
            for column in range(start, stop):
                certain += near[column] >= above
                perhaps += near[column] >= below
            sure += certain
            for column in range(start, stop if perhaps > certain else start):
                if below <= near[column] < above:
                    sure += alike(values, query, columns[column], euclidean) >= wanted[place]
        ahead[place] = sure


@kernel
def ahead_of_many(
    near: Any, query: int, columns: Any, values: Any, euclidean: bool, slack: float, wanted: Any, ahead: Any
) -> None:  # fmt: skip
    """As :func:`ahead_of_few`; `wanted` descends."""
    size = wanted.shape[0]
    rising = wanted[::-1].copy()
    ahead[:] = 0
    for column in range(near.shape[0]):
        value = float(near[column])
        if value == -np.inf:
            continue
        place = int(np.searchsorted(rising, value, side="right"))
        close = (place < size and rising[place] - value <= slack) or (place > 0 and value - rising[place - 1] <= slack)
        if close:
            place = int(np.searchsorted(rising, alike(values, query, columns[column], euclidean), side="right"))
        if place > 0:
            ahead[size - place] += 1
    for place in range(1, size):
        ahead[place] += ahead[place - 1]


@kernel
def rank_block(
    near: Any,
    rows: Any,
    columns: Any,
    place_of: Any,
    values: Any,
    euclidean: bool,
    slack: Any,
    members: Any,
    span: Any,
    differ: Any,
    among: Any,
    apart: Any,
    apart_spans: Any,
    found: Any,
) -> None:
    """Write average precision, positives and total of the profiles `rows`.

    Args:
        near: (rows, columns) their similarities, float32 or float64; spoiled.
        rows: (rows,) which profiles are asked for.
        columns: (columns,) which profiles may be negatives.
        place_of: (n,) where each profile stands in `columns`, -1 where it does not.
        values: (n, features) float64.
        euclidean: by distance, not by product.
        slack: (rows,) how far `near` may be off.
        members: (n,) profiles, those that share what positives share side by side.
        span: (2, n) where the profiles that share with each begin and end in `members`.
        differ: (columns that positives must not share, n) codes.
        among: (n,) who may be a positive.
        apart: (columns that negatives must not share, n) as `members`, one a column.
        apart_spans: (the same, 2, n) as `span`.
        found: (3, n) average precision, positives, total; written at `rows`.
    """
    longest = 1
    for line in range(rows.shape[0]):
        longest = max(longest, span[1, rows[line]] - span[0, rows[line]])
    own, ahead = np.empty(longest, np.int64), np.empty(longest, np.int64)
    for line in range(rows.shape[0]):
        query = rows[line]
        count = partners(query, members, span, differ, among, own)
        negatives = columns.shape[0] - left_out(near[line], query, own[:count], place_of, apart, apart_spans)
        found[1, query], found[2, query] = count, count + negatives
        if count == 0 or negatives == 0:
            continue
        wanted = np.empty(count)
        for place in range(count):
            wanted[place] = alike(values, query, own[place], euclidean)
        wanted = np.sort(wanted)[::-1].copy()
        if count <= FEW:
            ahead_of_few(near[line], query, columns, values, euclidean, slack[line], wanted, ahead[:count])
        else:
            ahead_of_many(near[line], query, columns, values, euclidean, slack[line], wanted, ahead[:count])
        mean = 0.0
        for place in range(count):
            mean += (place + 1) / (place + 1 + ahead[place])
        found[0, query] = mean / count


@kernel
def drawn_precisions(drawn: Any, total: int, made: Any) -> None:
    """Average precision of random ranks, one set a row of `drawn` (uniform in 0..1); written to `made`.

    A set of ranks among `total` costs as many steps as it has members, however many `total` is (Bentley and Floyd 1987,
    Communications of the ACM 30:754).
    """
    count = drawn.shape[1]
    taken = np.zeros(total, np.bool_)
    ranks = np.empty(count, np.int64)
    for row in range(drawn.shape[0]):
        for place in range(count):
            last = total - count + place
            one = int(drawn[row, place] * (last + 1))
            if taken[one]:
                one = last
            taken[one] = True
            ranks[place] = one
        ranks.sort()
        mean = 0.0
        for place in range(count):
            mean += (place + 1) / (ranks[place] + 1)
            taken[ranks[place]] = False
        made[row] = mean / count
