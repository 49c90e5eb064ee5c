"""Average precision of profiles: how early a profile's partners stand among all it is compared with.

Method and names: Kalinin et al. (2025), Nature Communications 16:5181. Nothing is ever held but one block of
similarities, so memory does not grow with the number of pairs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.special import comb

from phenostream.errors import NotFiniteError, RecipeError, WrongShapeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

Similarity = Literal["cosine", "correlation", "euclidean"]
_BLOCK_BYTES = 64 << 20


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
    values = _vectors(profiles, similarity)
    count = len(values)
    asked = np.ones(count, bool) if queries is None else np.asarray(queries, bool)
    pos, neg = (_Coded.of(one, count) for one in (positives, negatives))
    found = AveragePrecisions(np.full(count, np.nan), np.zeros(count, np.int64), np.zeros(count, np.int64))
    for rows, columns in _blocks(pos, neg, asked, block_bytes):
        near = _near(values, rows, columns, similarity)
        _kernel()(near, rows, columns, *pos.codes, *neg.codes, found.value, found.positives, found.total)
    return found


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
    nulls = _Nulls(null_size, seed)
    rows = np.flatnonzero(good)
    rows = rows[np.argsort(groups[rows], kind="stable")]
    for part in np.split(rows, np.flatnonzero(np.diff(groups[rows])) + 1):
        if len(part):
            shape = tuple(sorted(zip(scores.positives[part].tolist(), scores.total[part].tolist(), strict=True)))
            group = groups[part[0]]
            drawn[group] = _p_value(value[group], nulls.drawn(shape), "right")
            exact[group] = _p_value(value[group], nulls.complete(shape), "left")
    return MeanAveragePrecisions(value, drawn, exact, members)


def _p_value(observed: float, null: Floats, side: Literal["left", "right"]) -> float:
    """`side` right: nulls that are larger; left: or equal. Sums of fractions are equal but for rounding."""
    slack = 1e-12 if side == "right" else -1e-12
    above = null.size - int(np.searchsorted(null, observed + slack, side=side))
    return (above + 1) / (null.size + 1)


def null_average_precision(
    positives: int, total: int, *, size: int = 100_000, rng: np.random.Generator | int = 0
) -> Floats:
    """Average precision of `size` random rankings of `positives` among `total`.

    Raises:
        RecipeError: no positive, or more than there are.
    """
    if not 0 < positives <= total:
        raise RecipeError(f"{positives} positives among {total}", remedy="there must be one, and no more than all")
    generator = np.random.default_rng(rng)
    made = np.empty(size)
    step = max(1, _BLOCK_BYTES // (8 * total))
    for start in range(0, size, step):
        drawn = generator.random((min(step, size - start), total))
        ranks = np.sort(np.argpartition(drawn, positives - 1, axis=1)[:, :positives], axis=1) + 1
        made[start : start + len(ranks)] = (np.arange(1, positives + 1) / ranks).mean(axis=1)
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


_Shape = tuple[tuple[int, int], ...]
_KEPT = 128


@dataclass(slots=True)
class _Nulls:
    """Null distributions, sorted, each computed once.

    A shape lists, for every member of a group, its numbers of positives and of all.
    """

    size: int
    seed: int
    _one: dict[tuple[int, int], Floats] = field(default_factory=dict)
    _all: dict[tuple[int, int], Floats] = field(default_factory=dict)
    _mixed: dict[_Shape, Floats] = field(default_factory=dict)

    def complete(self, shape: _Shape) -> Floats:
        """Every ranking where all members are alike and they are few, drawn ones otherwise."""
        kind = shape[0]
        if shape.count(kind) < len(shape) or comb(kind[1], kind[0], exact=True) > self.size:
            return self.drawn(shape)
        return _kept(self._all, kind, lambda: all_average_precisions(*kind))

    def drawn(self, shape: _Shape) -> Floats:
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


@dataclass(frozen=True, slots=True)
class _Coded:
    """One side's rules as the kernel takes them."""

    same: NDArray[np.int64]
    differ: NDArray[np.int64]
    among: NDArray[np.bool_]

    @classmethod
    def of(cls, partners: Partners, count: int) -> _Coded:
        for codes in (*partners.same, *partners.differ):
            if codes.shape != (count,):
                raise WrongShapeError(f"codes {codes.shape} for {count} profiles")
        same, differ = (
            np.ascontiguousarray(np.stack(given).astype(np.int64)) if given else np.zeros((0, count), np.int64)
            for given in (partners.same, partners.differ)
        )
        among = np.ones(count, bool) if partners.among is None else np.asarray(partners.among, bool)
        if among.shape != (count,):
            raise WrongShapeError(f"a choice {among.shape} of {count} profiles")
        return cls(same, differ, among)

    @property
    def codes(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        return self.same, self.differ, self.among

    def reach(self, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which profiles may be a partner of any of `rows`: a little too many is harmless."""
        chosen = self.among.copy()
        for codes in self.same:
            chosen &= np.isin(codes, np.unique(codes[rows]))
        return chosen


def _blocks(
    pos: _Coded, neg: _Coded, asked: NDArray[np.bool_], block_bytes: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Queries and the profiles that they are compared with, so that a block of similarities fits."""
    rows = np.flatnonzero(asked)
    keys = [*pos.same, *neg.same]
    if keys:
        # Neighbours in this order share partners, which keeps blocks narrow.
        rows = rows[np.lexsort([codes[rows] for codes in keys])]
    start = 0
    while start < len(rows):
        step = max(1, min(len(rows) - start, 4096, block_bytes // (8 * len(asked))))
        part = rows[start : start + step]
        yield part, np.flatnonzero(pos.reach(part) | neg.reach(part))
        start += step


def _near(values: Floats, rows: NDArray[np.intp], columns: NDArray[np.intp], similarity: Similarity) -> Floats:
    product: Floats = values[rows] @ values[columns].T
    if similarity != "euclidean":
        return product
    squares = np.einsum("ij,ij->i", values, values)
    return np.asarray(2 * product - squares[rows][:, None] - squares[columns])


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


def _kernel() -> Any:
    from phenostream.benchmark.metrics._ranking import rank_block  # noqa: PLC0415  (imports the compiler)

    return rank_block
