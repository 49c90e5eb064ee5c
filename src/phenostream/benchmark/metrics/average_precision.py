"""Average precision of profiles: how early a profile's partners stand among all it is compared with.

Method and names: Kalinin et al. (2025), Nature Communications 16:5181. Nothing is ever held but one block of
similarities, so memory does not grow with the number of pairs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from phenostream.benchmark.metrics._nulls import Nulls, Shape, all_average_precisions, null_average_precision
from phenostream.errors import NotFiniteError, RecipeError, WrongShapeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

__all__ = [
    "AveragePrecision",
    "AveragePrecisions",
    "MeanAveragePrecisions",
    "Partners",
    "Similarity",
    "all_average_precisions",
    "average_precision",
    "mean_average_precision",
    "null_average_precision",
]

Similarity = Literal["cosine", "correlation", "euclidean"]
_BLOCK_BYTES = 64 << 20
#: Positives up to which products are computed in single precision; the ranking is that of double precision.
_FEW = 64


@dataclass(frozen=True)
class Partners:
    """Which rows are compared with a row: those that share all of `same` and none of `differ`, among `among`.

    Attributes:
        same: integer codes (n,), one array a column.
        differ: integer codes (n,), one array a column.
        among: (n,) which rows may be partners; all when None.
    """

    same: tuple[NDArray[np.int64], ...] = ()
    differ: tuple[NDArray[np.int64], ...] = ()
    among: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class AveragePrecisions:
    """By profile; NaN where it is no query or has no positive or no negative.

    Attributes:
        value: (n,) average precision.
        positives: (n,) int64, how many positives it has.
        total: (n,) int64, positives and negatives.
    """

    value: Floats
    positives: NDArray[np.int64]
    total: NDArray[np.int64]


def average_precision(
    profiles: ArrayLike,
    positives: Partners,
    negatives: Partners,
    *,
    similarity: Similarity = "cosine",
    queries: NDArray[np.bool_] | None = None,
    block_bytes: int = _BLOCK_BYTES,
) -> AveragePrecisions:
    """Mean over a profile's positives, by descending similarity, of ``k / rank of the k-th``.

    A negative exactly as similar as a positive ranks before it: what cannot be told apart is no evidence.

    Args:
        profiles: (n, features), finite; with cosine or correlation no row may be constant at zero.
        positives: partners that should be similar; a row is never its own partner.
        negatives: partners that should not be; a row that is both counts as positive.
        similarity: ``cosine``, ``correlation``, or ``euclidean`` (the negative distance).
        queries: (n,) which rows are asked for; all when None.
        block_bytes: memory for one block of similarities.

    Raises:
        WrongShapeError: shapes that do not fit.
        NotFiniteError: a profile with NaN or infinite values, or without direction.
    """
    from phenostream.benchmark.metrics._ranking import rank_block  # noqa: PLC0415  (imports the compiler)

    values = np.ascontiguousarray(_vectors(profiles, similarity))
    count = len(values)
    asked = np.ones(count, bool) if queries is None else np.asarray(queries, bool)
    pos, neg = (_Rules.of(one, count) for one in (positives, negatives))
    together, apart = _Together.by(pos.same), [_Together.by(codes) for codes in neg.differ]
    members = np.stack([one.members for one in apart]) if apart else np.zeros((0, count), np.int64)
    spans = np.stack([one.span for one in apart]) if apart else np.zeros((0, 2, count), np.int64)
    near = _Near(values, similarity, together.largest() - 1)
    found = np.stack([np.full(count, np.nan), np.zeros(count), np.zeros(count)])
    place_of = np.empty(count, np.int64)
    for rows, columns in _blocks(neg, asked, near.row_bytes, block_bytes):
        place_of[:] = -1
        place_of[columns] = np.arange(len(columns))
        rank_block(
            near.block(rows, columns), rows, columns, place_of, values, near.euclidean, near.slack(rows),
            together.members, together.span, pos.differ, pos.among, members, spans, found,
        )  # fmt: skip
    return AveragePrecisions(found[0], found[1].astype(np.int64), found[2].astype(np.int64))


class AveragePrecision:
    """The same from batches of profiles, whose columns of codes come along."""

    def __init__(self, *, similarity: Similarity = "cosine") -> None:
        """Keep the similarity."""
        self.similarity: Similarity = similarity
        self._profiles: list[NDArray[Any]] = []
        self._codes: list[NDArray[np.int64]] = []

    def update(self, profiles: ArrayLike, replicate_of: ArrayLike, control: ArrayLike) -> None:
        """Keep a batch: (n, features), (n,) what each is a replicate of (integers), (n,) whether it is a control."""
        self._profiles.append(np.asarray(profiles, float))
        self._codes.append(np.stack([np.asarray(replicate_of, np.int64), np.asarray(control, np.int64)]))

    def compute(self) -> AveragePrecisions:
        """Average precision of every treated profile against the controls."""
        codes, control = np.concatenate(self._codes, axis=1)
        treated = Partners(same=(codes,), among=control == 0)
        against = Partners(among=control == 1)
        return average_precision(
            np.concatenate(self._profiles), treated, against, similarity=self.similarity, queries=control == 0
        )


@dataclass(frozen=True, slots=True)
class MeanAveragePrecisions:
    """By group; NaN where no member has an average precision.

    Attributes:
        value: (groups,) mean of the members' average precision.
        p_value: (groups,) ``(nulls above it + 1) / (nulls + 1)`` over drawn rankings, as copairs counts.
        exact_p_value: (groups,) the same where nulls equal to it count, too, and all rankings are enumerated where
            there are few enough: larger for perfect scores, and valid for them.
        members: (groups,) members that count.
    """

    value: Floats
    p_value: Floats
    exact_p_value: Floats
    members: NDArray[np.int64]


def mean_average_precision(
    scores: AveragePrecisions, groups: NDArray[np.int64], *, null_size: int = 100_000, seed: int = 0
) -> MeanAveragePrecisions:
    """Mean over the members of each group, and how often random rankings do as well.

    The null of a member is what shuffled rankings with its numbers of positives and negatives give; members with the
    same numbers share one. The null of a group is the mean of its members' nulls, as in the paper.

    Args:
        scores: of :func:`average_precision`.
        groups: (n,) code of each profile's group, 0 to groups - 1; -1 for none.
        null_size: rankings that are drawn.
        seed: of the draws; each pair of numbers has a generator of its own, so results do not depend on what else is
            asked.
    """
    size = int(groups.max(initial=-1)) + 1
    good = np.isfinite(scores.value) & (groups >= 0)
    members = np.bincount(groups[good], minlength=size)
    total = np.bincount(groups[good], scores.value[good], minlength=size)
    value = np.asarray(np.where(members > 0, total / np.maximum(members, 1), np.nan), np.float64)
    drawn, exact = np.full(size, np.nan), np.full(size, np.nan)
    nulls = Nulls(null_size, seed)
    # Groups of one shape share a null, and those of like shapes its parts: one shape after the other.
    for shape, alike in sorted(_shapes(scores, groups, good).items()):
        for group in alike:
            drawn[group] = _p_value(value[group], nulls.drawn(shape), "right")
            exact[group] = _p_value(value[group], nulls.complete(shape), "left")
    return MeanAveragePrecisions(value, drawn, exact, members)


def _shapes(scores: AveragePrecisions, groups: NDArray[np.int64], good: NDArray[np.bool_]) -> dict[Shape, list[int]]:
    """Groups by the numbers of positives and of all that their members have."""
    rows = np.flatnonzero(good)
    rows = rows[np.lexsort([scores.total[rows], scores.positives[rows], groups[rows]])]
    found: dict[Shape, list[int]] = {}
    for part in np.split(rows, np.flatnonzero(np.diff(groups[rows])) + 1):
        if len(part):
            shape = tuple(zip(scores.positives[part].tolist(), scores.total[part].tolist(), strict=True))
            found.setdefault(shape, []).append(int(groups[part[0]]))
    return found


def _p_value(observed: float, null: Floats, side: Literal["left", "right"]) -> float:
    """`side` right: nulls that are larger; left: or equal. Sums of fractions are equal but for rounding."""
    slack = 1e-12 if side == "right" else -1e-12
    above = null.size - int(np.searchsorted(null, observed + slack, side=side))
    return (above + 1) / (null.size + 1)


@dataclass(frozen=True, slots=True)
class _Together:
    """Profiles in groups: those of the group of row r are ``members[span[0, r]:span[1, r]]``."""

    members: NDArray[np.int64]
    span: NDArray[np.int64]

    @classmethod
    def by(cls, codes: NDArray[np.int64]) -> _Together:
        members = np.argsort(codes, kind="stable")
        rising = codes[members]
        return cls(members, np.stack([np.searchsorted(rising, codes, side) for side in ("left", "right")]))

    def largest(self) -> int:
        return int((self.span[1] - self.span[0]).max(initial=0))


@dataclass(frozen=True, slots=True)
class _Rules:
    """One side's rules as the loops take them."""

    same: NDArray[np.int64]
    differ: NDArray[np.int64]
    among: NDArray[np.bool_]

    @classmethod
    def of(cls, partners: Partners, count: int) -> _Rules:
        for codes in (*partners.same, *partners.differ):
            if codes.shape != (count,):
                raise WrongShapeError(f"codes {codes.shape} for {count} profiles")
        among = np.ones(count, bool) if partners.among is None else np.asarray(partners.among, bool)
        if among.shape != (count,):
            raise WrongShapeError(f"a choice {among.shape} of {count} profiles")
        same = np.zeros(count, np.int64)
        for codes in partners.same:
            own = np.unique(codes, return_inverse=True)[1]
            same = np.unique(same * (own.max(initial=0) + 1) + own, return_inverse=True)[1]
        differ = np.stack([codes.astype(np.int64) for codes in partners.differ] or [np.zeros((0,), np.int64)])
        return cls(same, differ.reshape(len(partners.differ), count), among)


def _blocks(
    negatives: _Rules, asked: NDArray[np.bool_], row_bytes: int, block_bytes: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Queries, and the profiles that may be negatives of all of them, so that a block of similarities fits."""
    rows = np.flatnonzero(asked)
    rows = rows[np.argsort(negatives.same[rows], kind="stable")]
    others = _Together.by(negatives.same)
    for part in np.split(rows, np.flatnonzero(np.diff(negatives.same[rows])) + 1):
        if len(part):
            first, last = others.span[:, part[0]]
            columns = others.members[first:last]
            columns = columns[negatives.among[columns]]
            step = max(1, min(4096, block_bytes // max(row_bytes * len(columns), 1)))
            for start in range(0, len(part), step):
                yield part[start : start + step], columns


class _Near:
    """Similarities of rows to columns by matrix products, and how far they may be off."""

    def __init__(self, values: Floats, similarity: Similarity, positives: int) -> None:
        self.euclidean = similarity == "euclidean"
        # With few positives next to nothing must be compared again, and single precision is twice as fast.
        self.quick: NDArray[Any] = values.astype(np.float32) if positives <= _FEW and not self.euclidean else values
        self.squares = np.einsum("ij,ij->i", values, values)
        self._columns: NDArray[np.intp] = np.zeros(0, np.intp)
        self._taken: NDArray[Any] = self.quick[:0]

    @property
    def row_bytes(self) -> int:
        return self.quick.itemsize

    def block(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[Any]:
        """(rows, columns)."""
        if columns is not self._columns:
            self._columns = columns
            self._taken = self.quick if len(columns) == len(self.quick) else self.quick[columns]
        near: NDArray[Any] = self.quick[rows] @ self._taken.T
        if self.euclidean:
            near *= 2
            near -= self.squares[rows][:, None]
            near -= self.squares[columns]
        return near

    def slack(self, rows: NDArray[np.intp]) -> Floats:
        """(rows,) more than rounding can make of a sum of so many products (Higham 2002, section 3.1)."""
        unit = float(np.finfo(self.quick.dtype).eps)
        longest = np.sqrt(self.squares[rows]) + math.sqrt(float(self.squares.max(initial=0)))
        return np.asarray((self.quick.shape[1] + 4) * unit * longest**2)


def _vectors(profiles: ArrayLike, similarity: Similarity) -> Floats:
    values = np.asarray(profiles, np.float64)
    if values.ndim != 2:
        raise WrongShapeError(f"profiles of shape {values.shape}, not (profiles, features)")
    if not np.isfinite(values).all():
        raise NotFiniteError("profiles with NaN or infinite values", remedy="leave them or these features out, counted")
    if similarity == "euclidean":
        # Distances do not change, and squares of small numbers lose fewer digits.
        return np.asarray(values - values.mean(axis=0))
    if similarity not in ("cosine", "correlation"):
        raise RecipeError(f"no similarity {similarity!r}", remedy="say cosine, correlation or euclidean")
    centred = values - values.mean(axis=1, keepdims=True) if similarity == "correlation" else values
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    if (length <= 1e-12 * np.abs(values).max(axis=1, initial=0, keepdims=True)).any():
        raise NotFiniteError("a profile has no direction: all its values are equal", remedy="leave it out, counted")
    return np.asarray(centred / length)
