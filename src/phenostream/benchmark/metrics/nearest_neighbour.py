"""Accuracy of the nearest neighbour that is not the same compound (NSC), and not the same batch either (NSCB)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from phenostream.benchmark.metrics._gathered import Gathered
from phenostream.benchmark.metrics.average_precision import Similarity, _vectors
from phenostream.errors import WrongShapeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

_BLOCK = 1024


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest profile of each profile that the rules allow.

    Attributes:
        neighbour: (n,) its row; -1 where the rules allow none.
        answerable: (n,) whether some allowed neighbour has the profile's own mechanism.
        right: (n,) whether the nearest one has it.
    """

    neighbour: NDArray[np.intp]
    answerable: NDArray[np.bool_]
    right: NDArray[np.bool_]

    @property
    def accuracy(self) -> float:
        """Share that is right, of the profiles that have an allowed neighbour; NaN where none has."""
        asked = self.neighbour >= 0
        return float(self.right[asked].mean()) if asked.any() else float("nan")

    @property
    def answerable_accuracy(self) -> float:
        """Share that is right, of the profiles that could be right (as published for NSCB); NaN where none could."""
        return float(self.right[self.answerable].mean()) if self.answerable.any() else float("nan")


def nearest_neighbour(
    profiles: ArrayLike,
    mechanisms: ArrayLike,
    compounds: ArrayLike,
    *,
    batches: Sequence[frozenset[Any]] | None = None,
    similarity: Similarity = "correlation",
) -> Neighbours:
    """Call every profile by its nearest neighbour of another compound (Ljosa et al. 2013; Ando et al. 2017).

    Args:
        profiles: (n, features), one a treatment (compound and concentration).
        mechanisms: (n,) true mechanism.
        compounds: (n,) compound: a neighbour may not share it.
        batches: for every treatment the batches it was seen in; a neighbour may share none (NSCB).
        similarity: ``correlation``, ``cosine`` or ``euclidean``.

    Raises:
        WrongShapeError: shapes that do not fit.
        NotFiniteError: a profile with NaN, or without direction.
    """
    values = _vectors(profiles, similarity)
    names, drugs = np.asarray(mechanisms), np.asarray(compounds)
    if not len(values) == len(names) == len(drugs) or (batches is not None and len(batches) != len(names)):
        raise WrongShapeError(f"{len(values)} profiles, {len(names)} mechanisms, {len(drugs)} compounds")
    found, possible = np.full(len(values), -1), np.zeros(len(values), bool)
    squares = np.einsum("ij,ij->i", values, values) if similarity == "euclidean" else np.zeros(len(values))
    for start in range(0, len(values), _BLOCK):
        rows = slice(start, start + _BLOCK)
        near = 2 * values[rows] @ values.T - squares
        forbidden = drugs[rows, None] == drugs[None]
        if batches is not None:
            forbidden |= np.array([[bool(own & other) for other in batches] for own in batches[rows]])
        near[forbidden] = -np.inf
        best = near.argmax(axis=1)
        found[rows] = np.where(np.isfinite(near.max(axis=1)), best, -1)
        possible[rows] = (~forbidden & (names[rows, None] == names[None])).any(axis=1)
    right = (found >= 0) & (names[found] == names)
    return Neighbours(found, possible, right)


class NearestNeighbour(Gathered):
    """The same from batches of treatments."""

    def __init__(self, *, similarity: Similarity = "correlation") -> None:
        """Keep the similarity."""
        super().__init__()
        self.similarity: Similarity = similarity

    def update(self, profiles: ArrayLike, mechanisms: ArrayLike, compounds: ArrayLike) -> None:
        """Keep one batch."""
        self.keep(profiles, mechanisms, compounds)

    def compute(self) -> Neighbours:
        """Of all batches."""
        return nearest_neighbour(*self.joined(), similarity=self.similarity)
