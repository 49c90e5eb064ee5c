"""Random numbers that follow from keys alone: no generator has a state to lose, to share or to hand on.

SplitMix64: a counter in steps of the golden ratio, mixed. Source: G. L. Steele, D. Lea, C. H. Flood, "Fast splittable
pseudorandom number generators", OOPSLA 2014. Integer arithmetic only, hence the same on every machine and release.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtri

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Keys = NDArray[np.uint64]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
_HALF = 2.0**-54


def key(*parts: int | NDArray[Any]) -> Keys:
    """One key (N,) for what `parts` name together: numbers, or arrays (N,) of them."""
    found = np.zeros(1, np.uint64)
    for part in parts:
        found = _mixed((found ^ np.atleast_1d(np.asarray(part)).astype(np.uint64)) + _STEP)
    return found


def words(keys: Keys, count: int) -> Keys:
    """`count` random words for each key, (N, count)."""
    steps = np.arange(1, count + 1, dtype=np.uint64) * _STEP
    return _mixed(keys[:, None] + steps)


def uniforms(keys: Keys, count: int) -> NDArray[np.float64]:
    """(N, count) numbers between 0 and 1, never either."""
    return (words(keys, count) >> np.uint64(11)).astype(np.float64) * 2.0**-53 + _HALF


def normals(keys: Keys, count: int) -> NDArray[np.float64]:
    """(N, count) numbers of the standard normal distribution."""
    return np.asarray(ndtri(uniforms(keys, count)), np.float64)


def lots(one: Keys, count: int) -> Keys:
    """(count,) words of a single key: what to sort by for a random order."""
    return np.asarray(words(one, count)[0], np.uint64)


def permutation(one: Keys, count: int) -> NDArray[np.int64]:
    """The numbers 0 to `count` - 1 in the random order of a single key."""
    return np.argsort(lots(one, count), kind="stable").astype(np.int64)


def _mixed(value: Keys) -> Keys:
    value = (value ^ (value >> _SHIFTS[0])) * _MULTIPLIERS[0]
    value = (value ^ (value >> _SHIFTS[1])) * _MULTIPLIERS[1]
    return value ^ (value >> _SHIFTS[2])
