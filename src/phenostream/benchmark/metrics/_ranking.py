"""The inner loop of average precision, compiled: one pass over a block of similarities, nothing allocated a pair."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def _partner(same: Any, differ: Any, among: Any, query: int, other: int) -> bool:
    if query == other or not among[other]:
        return False
    for place in range(same.shape[0]):
        if same[place, query] != same[place, other]:
            return False
    for place in range(differ.shape[0]):  # noqa: SIM110  (the compiler knows no generators)
        if differ[place, query] == differ[place, other]:
            return False
    return True


@numba.njit(cache=True, nogil=True)
def rank_block(  # noqa: PLR0913, PLR0917  (compiled code takes plain arrays)
    near: Any,
    rows: Any,
    columns: Any,
    pos_same: Any,
    pos_differ: Any,
    pos_among: Any,
    neg_same: Any,
    neg_differ: Any,
    neg_among: Any,
    value: Any,
    positives: Any,
    total: Any,
) -> None:
    """Write average precision, positives and total of the profiles `rows`; `near` is (rows, columns)."""
    kind = np.empty(len(columns), np.int8)
    for line in range(len(rows)):
        query = rows[line]
        count, others = 0, 0
        for place in range(len(columns)):
            other = columns[place]
            kind[place] = 0
            if _partner(pos_same, pos_differ, pos_among, query, other):
                kind[place] = 1
                count += 1
            elif _partner(neg_same, neg_differ, neg_among, query, other):
                kind[place] = 2
                others += 1
        positives[query], total[query] = count, count + others
        if count == 0 or others == 0:
            continue
        wanted = np.sort(-near[line][kind == 1])
        before = np.zeros(count + 1, np.int64)
        least = -wanted[count - 1]
        for place in range(len(columns)):
            if kind[place] == 2 and near[line, place] >= least:
                # The first positive that is no nearer than this negative, and all after it, stand behind it.
                before[np.searchsorted(wanted, -near[line, place], side="left")] += 1
        passed, mean = 0, 0.0
        for place in range(count):
            passed += before[place]
            mean += (place + 1) / (place + 1 + passed)
        value[query] = mean / count
