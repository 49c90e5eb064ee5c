"""Recall of known relationships: annotated pairs among the most alike and most opposed of a map (EFAAR benchmarks)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from phenostream.benchmark.metrics._gathered import Gathered
from phenostream.benchmark.metrics.perturbation_consistency import directions
from phenostream.errors import EmptyError, NotFiniteError, WrongShapeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray

#: Ends of the distribution that count, as shares.
ENDS = ((0.05, 0.95), (0.1, 0.9))
_LEAST = 20


@dataclass(frozen=True, slots=True)
class Recall:
    """What was found again.

    Attributes:
        recall: by ends: share of the annotated pairs at or beyond them; a random map gives 0.1 and 0.2.
        pairs: annotated pairs that are in the map.
        all_pairs: all pairs of the map.
    """

    recall: dict[tuple[float, float], float]
    pairs: int
    all_pairs: int


def relationship_recall(
    profiles: ArrayLike,
    names: Sequence[str],
    pairs: Iterable[tuple[str, str]],
    *,
    ends: Sequence[tuple[float, float]] = ENDS,
    least: int = _LEAST,
) -> Recall:
    """Share of annotated pairs whose cosine lies in either end of that of all pairs.

    Celik et al. (2024), PLoS Computational Biology 20:e1012463. With the rank of a pair counted from both sides of its
    ties, ``left = searchsorted(all, cosine, left) / N`` and ``right`` likewise, it is found where ``right <= low`` or
    ``left >= high``.

    Args:
        profiles: (entities, features), one aggregated profile an entity, finite, none of length zero.
        names: (entities,) all different.
        pairs: annotated pairs of names; order and repetition do not count, nor do pairs of one entity with itself or
            with one that is not in the map.
        ends: (low, high) shares.
        least: entities that the map must have.

    Raises:
        WrongShapeError: shapes that do not fit, or a name twice.
        NotFiniteError: NaN, or a profile of length zero.
        EmptyError: fewer than `least` entities, or no annotated pair among them.
    """
    values = np.asarray(profiles, float)
    place = {name: number for number, name in enumerate(names)}
    if values.ndim != 2 or len(values) != len(names) or len(place) != len(names):
        raise WrongShapeError(f"profiles {values.shape} for {len(names)} names, {len(place)} of them different")
    if not np.isfinite(values).all():
        raise NotFiniteError("profiles hold NaN or infinite values", remedy="leave these entities out, counted")
    if len(names) < least:
        raise EmptyError(f"a map of {len(names)} entities says little", remedy=f"give {least} or more")
    known = {tuple(sorted((place[a], place[b]))) for a, b in pairs if a in place and b in place and a != b}
    if not known:
        raise EmptyError("no annotated pair is in the map", remedy="are both named alike?")
    return _recall(directions(values), np.array(sorted(known)), ends)


class RelationshipRecall(Gathered):
    """The same from batches of entities."""

    def __init__(self, pairs: Iterable[tuple[str, str]], *, least: int = _LEAST) -> None:
        """Keep the annotated pairs."""
        super().__init__()
        self.pairs, self.least = list(pairs), least

    def update(self, profiles: ArrayLike, names: Sequence[str]) -> None:
        """Keep one batch."""
        self.keep(profiles, np.asarray(names))

    def compute(self) -> Recall:
        """Of all batches."""
        profiles, names = self.joined()
        return relationship_recall(profiles, names.tolist(), self.pairs, least=self.least)


def _recall(unit: NDArray[np.float64], known: NDArray[np.intp], ends: Sequence[tuple[float, float]]) -> Recall:
    cosines = (unit @ unit.T)[np.triu_indices(len(unit), 1)]
    # From the same matrix, so that a pair is found among all at exactly its own value.
    wanted = cosines[_flat(known, len(unit))]
    cosines.sort()
    left = np.searchsorted(cosines, wanted, side="left") / len(cosines)
    right = np.searchsorted(cosines, wanted, side="right") / len(cosines)
    found = {(low, high): float(((right <= low) | (left >= high)).mean()) for low, high in ends}
    return Recall(found, len(known), len(cosines))


def _flat(pairs: NDArray[np.intp], size: int) -> NDArray[np.intp]:
    """Place of pairs (i < j) in the upper triangle, row by row."""
    i, j = pairs.T
    return np.asarray(i * (2 * size - i - 1) // 2 + j - i - 1)
