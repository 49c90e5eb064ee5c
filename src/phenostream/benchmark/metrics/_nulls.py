"""What average precisions random rankings give: drawn, or all of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import comb

from phenostream.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: For each member of a group, its numbers of positives and of all; sorted.
Shape = tuple[tuple[int, int], ...]

_BLOCK_BYTES = 64 << 20
_KEPT = 128


def null_average_precision(
    positives: int, total: int, *, size: int = 100_000, rng: np.random.Generator | int = 0
) -> Floats:
    """Average precision of `size` random rankings of `positives` among `total`.

    Raises:
        RecipeError: no positive, or more than there are.
    """
    if not 0 < positives <= total:
        raise RecipeError(f"{positives} positives among {total}", remedy="there must be one, and no more than all")
    from phenostream.benchmark.metrics._ranking import drawn_precisions  # noqa: PLC0415  (imports the compiler)

    generator = np.random.default_rng(rng)
    made = np.empty(size)
    step = max(1, _BLOCK_BYTES // (8 * positives))
    for start in range(0, size, step):
        part = made[start : start + step]
        drawn_precisions(generator.random((len(part), positives)), total, part)
    return made


def all_average_precisions(positives: int, total: int) -> Floats:
    """Average precision of every ranking of `positives` among `total`, sorted: the complete null distribution.

    One value a set of ranks; there are ``total! / (positives! (total - positives)!)`` of them.
    """
    sums = np.zeros(1)
    last = np.zeros(1, np.int64)
    for place in range(1, positives + 1):
        # Ranks after the last one, that leave enough behind for those still to come.
        room = total - (positives - place) - last
        where = np.repeat(np.arange(len(last)), room)
        step = np.arange(len(where)) - np.repeat(np.cumsum(room) - room, room) + 1
        last = last[where] + step
        sums = sums[where] + place / last
    return np.sort(sums / positives)


@dataclass(slots=True)
class Nulls:
    """Null distributions, sorted, each computed once.

    A shape lists, for every member of a group, its numbers of positives and of all.
    """

    size: int
    seed: int
    _one: dict[tuple[int, int], Floats] = field(default_factory=dict)
    _all: dict[tuple[int, int], Floats] = field(default_factory=dict)
    _mixed: dict[Shape, Floats] = field(default_factory=dict)

    def complete(self, shape: Shape) -> Floats:
        """Every ranking where all members are alike and they are few, drawn ones otherwise."""
        kind = shape[0]
        if shape.count(kind) < len(shape) or comb(kind[1], kind[0], exact=True) > self.size:
            return self.drawn(shape)
        return _kept(self._all, kind, lambda: all_average_precisions(*kind))

    def drawn(self, shape: Shape) -> Floats:
        """Mean over the members of what was drawn for each kind."""
        kinds = tuple(dict.fromkeys(shape))
        if len(kinds) == 1:
            return _kept(self._mixed, kinds, lambda: np.sort(self._drawn(*kinds[0])))
        parts = ((shape.count(kind) / len(shape), self._drawn(*kind)) for kind in kinds)
        return _kept(self._mixed, shape, lambda: np.sort(sum(share * null for share, null in parts)))

    def _drawn(self, positives: int, total: int) -> Floats:
        def draw() -> Floats:
            generator = np.random.default_rng((self.seed, positives, total))
            return null_average_precision(positives, total, size=self.size, rng=generator)

        return _kept(self._one, (positives, total), draw)


def _kept(known: dict[Any, Floats], key: Any, make: Callable[[], Floats]) -> Floats:
    if key not in known:
        if len(known) >= _KEPT:
            known.clear()
        known[key] = make()
    return known[key]
