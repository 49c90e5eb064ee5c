"""Loops over one column: moments and order statistics by group, compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phenostream.compiled import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray


@kernel
def add_moments(
    values: NDArray[np.float64],
    codes: NDArray[np.int32],
    count: NDArray[np.int64],
    mean: NDArray[np.float64],
    squares: NDArray[np.float64],
) -> None:
    """Take a piece of one column into the moments of its groups; NaN does not count.

    Two passes over the piece, then the pairwise update of Chan, Golub and LeVeque (1983), which loses no digits where
    the mean is large.

    Args:
        values: (n,) of one column.
        codes: (n,) group of each row; negative rows are left out.
        count: (groups,) rows so far; changed in place, as the next two.
        mean: (groups,) their mean.
        squares: (groups,) sum of squared deviations from it.
    """
    groups = count.shape[0]
    new, sums, deviations = np.zeros(groups, np.int64), np.zeros(groups), np.zeros(groups)
    for row in range(values.shape[0]):
        code = codes[row]
        if code >= 0 and not np.isnan(values[row]):
            new[code] += 1
            sums[code] += values[row]
    for group in range(groups):
        if new[group]:
            sums[group] /= new[group]
    for row in range(values.shape[0]):
        code = codes[row]
        if code >= 0 and not np.isnan(values[row]):
            away = values[row] - sums[code]
            deviations[code] += away * away
    for group in range(groups):
        if new[group]:
            total = count[group] + new[group]
            away = sums[group] - mean[group]
            squares[group] += deviations[group] + away * away * count[group] * new[group] / total
            mean[group] += away * new[group] / total
            count[group] = total


@kernel
def select(values: NDArray[np.float64], left: int, right: int, place: int) -> float:  # noqa: C901  (one loop)
    """The number that would stand at `place` if ``values[left:right + 1]`` were sorted; reorders it (Hoare, 1961)."""
    while left < right:
        middle = (left + right) // 2
        if values[middle] < values[left]:
            values[left], values[middle] = values[middle], values[left]
        if values[right] < values[left]:
            values[left], values[right] = values[right], values[left]
        if values[right] < values[middle]:
            values[middle], values[right] = values[right], values[middle]
        pivot = values[middle]
        i, j = left, right
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if place <= j:
            right = j
        elif place >= i:
            left = i
        else:
            break
    return float(values[place])


@kernel
def quantile(values: NDArray[np.float64], size: int, share: float) -> float:
    """The quantile of the first `size` of `values`, linear between neighbours (NumPy's default); reorders them."""
    exact = share * (size - 1)
    lower = int(np.floor(exact))
    low = select(values, 0, size - 1, lower)
    part = exact - lower
    if part == 0.0:
        return low
    high = values[lower + 1]
    for place in range(lower + 2, size):
        high = min(high, values[place])
    if part == 0.5:
        # What a median of an even number is to NumPy, to the last bit.
        return float((low + high) / 2.0)
    return float(high - (high - low) * (1.0 - part) if part >= 0.5 else low + (high - low) * part)


@kernel
def grouped_order(codes: NDArray[np.int32], starts: NDArray[np.int64], order: NDArray[np.int32]) -> None:
    """Row numbers group by group, rows of a group in their order (a counting sort).

    Args:
        codes: (n,) group of each row, none negative.
        starts: (groups + 1,) where each group begins, ascending from 0.
        order: (n,) written here.
    """
    place = starts[:-1].copy()
    for row in range(codes.shape[0]):
        order[place[codes[row]]] = row
        place[codes[row]] += 1


@kernel
def order_statistics(
    values: NDArray[np.float64],
    order: NDArray[np.int32],
    starts: NDArray[np.int64],
    shares: NDArray[np.float64],
    found: NDArray[np.float64],
) -> None:
    """Count, quantiles and median absolute deviation of every group of one column; NaN does not count.

    Args:
        values: (n,) float32 or float64, in any order.
        order: (n,) row numbers group by group.
        starts: (groups + 1,) where each group begins in `order`.
        shares: (q,) quantiles wanted; the first must be 0.5.
        found: (groups, q + 2) count, the quantiles, the median absolute deviation; written here.
    """
    longest = 0
    for group in range(starts.shape[0] - 1):
        longest = max(longest, starts[group + 1] - starts[group])
    scratch = np.empty(longest)
    for group in range(starts.shape[0] - 1):
        size = 0
        for place in range(starts[group], starts[group + 1]):
            value = values[order[place]]
            if not np.isnan(value):
                scratch[size] = value
                size += 1
        found[group, 0] = size
        if size == 0:
            found[group, 1:] = np.nan
            continue
        for place in range(shares.shape[0]):
            found[group, 1 + place] = quantile(scratch, size, shares[place])
        for place in range(size):
            scratch[place] = abs(scratch[place] - found[group, 1])
        found[group, -1] = quantile(scratch, size, 0.5)


@kernel
def text_hashes(data: NDArray[np.uint8], offsets: NDArray[np.int64], seeds: NDArray[np.uint64]) -> None:
    """Fold the texts ``data[offsets[i]:offsets[i + 1]]`` into the hash of each row, in place (FNV-1a, 64 bits)."""
    prime = np.uint64(1099511628211)
    for row in range(seeds.shape[0]):
        value = seeds[row]
        for place in range(offsets[row], offsets[row + 1]):
            value = (value ^ np.uint64(data[place])) * prime
        # A byte no UTF-8 text holds ends each one, so that ("ab", "c") is not ("a", "bc").
        seeds[row] = (value ^ np.uint64(255)) * prime


@kernel
def repeated_values(values: NDArray[np.uint64]) -> tuple[int, int]:
    """Move the values that stand twice or more to the front, each once, still ascending.

    Args:
        values: (n,) ascending; changed in place.

    Returns:
        How many there are, and how many places they take beyond one each.
    """
    count, beyond, start = 0, 0, 0
    for place in range(1, values.shape[0] + 1):
        if place < values.shape[0] and values[place] == values[start]:
            continue
        if place - start > 1:
            beyond += place - start - 1
            values[count] = values[start]
            count += 1
        start = place
    return count, beyond


@kernel
def commonest(values: NDArray[np.float64]) -> tuple[int, int, int]:
    """How many values differ, and how often the most and the second most common of them stand there.

    Args:
        values: (n,) float32 or float64, ascending, NaN last; NaN does not count.
    """
    different, most, second, start = 0, 0, 0, 0
    for place in range(1, values.shape[0] + 1):
        if np.isnan(values[start]):
            break
        if place < values.shape[0] and values[place] == values[start]:
            continue
        size = place - start
        different += 1
        second = max(second, min(most, size))
        most = max(most, size)
        start = place
    return different, most, second


@kernel
def average_ranks(
    values: NDArray[np.float64], order: NDArray[np.int32], rows: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Rank, from 1, of each value among those of `rows`; equal values share the mean of their ranks.

    Args:
        values: (n,), NaN is missing.
        order: (n,) rows by ascending value, NaN last.
        rows: (n,) which take part.

    Returns:
        (n,) ranks, NaN for the missing and for other rows.
    """
    found = np.full(values.shape[0], np.nan)
    tied = np.empty(values.shape[0], np.int64)
    passed, size = 0, 0
    for place in range(values.shape[0] + 1):
        row = order[min(place, values.shape[0] - 1)]
        ended = place == values.shape[0] or np.isnan(values[row])
        if not ended and not rows[row]:
            continue
        if size and (ended or values[row] != values[tied[0]]):
            for member in range(size):
                found[tied[member]] = passed + (size + 1) / 2
            passed, size = passed + size, 0
        if ended:
            break
        tied[size] = row
        size += 1
    return found
