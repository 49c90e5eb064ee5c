"""Pixel statistics: of a site when its pixels pass by, and of plates and experiments from those, without a second look.

Means and standard deviations of groups are exact. Percentiles come from grey-level counts: exact for 8-bit pixels and
below 1024, beyond that from bins of at most 0.2 % of the value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

PERCENTILES: Final = (1.0, 50.0, 99.0)
_EXACT = 1024
_STEPS = 512  # bins an octave above _EXACT
BINS: Final = _EXACT + 6 * _STEPS
CEILINGS: Final = np.array(sorted({2**k - 1 for k in range(10, 17)} | {(2**k - 1) << 16 - k for k in range(10, 16)}))
"""The highest values that cameras of 10 to 16 bits give, their bits low or high in 16."""


@dataclass(frozen=True, slots=True, eq=False)
class SiteStatistics:
    """What the pixels of one site say, a value a channel.

    Attributes:
        mean: grey levels.
        std: population standard deviation, grey levels.
        least: lowest pixel.
        most: highest pixel.
        percentiles: (P, C), the ``PERCENTILES``, with linear interpolation.
        saturated: share of pixels at the highest value of the type, or at one of ``CEILINGS`` where they pile up.
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    least: NDArray[np.float64]
    most: NDArray[np.float64]
    percentiles: NDArray[np.float64]
    saturated: NDArray[np.float64]

    @property
    def flat(self) -> NDArray[np.bool_]:
        """(C,) whether all pixels of a channel are equal."""
        return np.asarray(self.least == self.most)


def of_site(site: NDArray[Any]) -> tuple[SiteStatistics, NDArray[np.int64]]:
    """Statistics of a site (C, Y, X), and the grey-level counts (C, BINS) of it; no counts for types without levels."""
    if site.dtype.name not in ("uint8", "uint16"):
        return _of_numbers(site), np.zeros((len(site), 0), np.int64)
    top = np.iinfo(site.dtype).max
    counts = np.stack([_levels(plane, top + 1) for plane in site])
    return _of_counts(counts, site[0].size), binned(counts)


def _levels(plane: NDArray[Any], levels: int) -> NDArray[np.int64]:
    """How many pixels have each level. Pairs of 8-bit pixels are counted as one number: half the work."""
    flat = np.ascontiguousarray(plane).reshape(-1)
    if levels > 256:
        return np.bincount(flat, minlength=levels)
    even = flat.size // 2 * 2
    pairs = np.bincount(flat[:even].view(np.uint16), minlength=1 << 16).reshape(256, 256)
    rest: NDArray[np.int64] = pairs.sum(axis=0) + pairs.sum(axis=1) + np.bincount(flat[even:], minlength=levels)
    return rest


def binned(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts (C, 256) or (C, 65536) of grey levels in ``BINS`` bins."""
    edges = bin_edges()
    starts = edges[edges < counts.shape[1]]
    out = np.zeros((len(counts), BINS), np.int64)
    out[:, : len(starts)] = np.add.reduceat(counts, starts, axis=1)
    return out


def bin_edges() -> NDArray[np.int64]:
    """(BINS,) lowest grey level of each bin: one a level below 1024, then 512 an octave up to 65535."""
    octaves = [_EXACT * 2**k + np.arange(_STEPS) * (2 * 2**k) for k in range(6)]
    return np.concatenate([np.arange(_EXACT), *octaves])


def percentile_of(counts: NDArray[np.int64], wanted: float) -> float:
    """A percentile of the pixels behind binned `counts` (BINS,): a value that one of them has, or its bin's lowest."""
    total = int(counts.sum())
    if not total:
        return float("nan")
    rank = int(np.ceil(wanted / 100 * total))
    return float(bin_edges()[np.searchsorted(np.cumsum(counts), max(rank, 1))])


def _of_counts(counts: NDArray[np.int64], pixels: int) -> SiteStatistics:
    levels = np.arange(counts.shape[1], dtype=np.float64)
    mean = counts @ levels / pixels
    variance = counts @ levels**2 / pixels - mean**2
    present = counts > 0
    least, most = present.argmax(axis=1), counts.shape[1] - 1 - present[:, ::-1].argmax(axis=1)
    std = np.sqrt(np.maximum(variance, 0)) * (least != most)
    below = np.cumsum(counts, axis=1)
    return SiteStatistics(
        mean, std, least.astype(np.float64), most.astype(np.float64), _percentiles(below, pixels),
        _saturated(counts, most) / pixels,
    )  # fmt: skip


def _saturated(counts: NDArray[np.int64], most: NDArray[np.intp]) -> NDArray[np.int64]:
    """(C,) pixels that lie at the ceiling, where the brightest pixel does.

    A camera of fewer bits than its files cuts off below the top of the type: then the brightest value is one of
    ``CEILINGS``, and more pixels have it than lie within 1.6 % below. The tail of an image that was not cut off thins
    out towards its brightest pixel, whatever value that happens to have.
    """
    found = np.zeros(len(counts), np.int64)
    for channel, (row, top) in enumerate(zip(counts, most, strict=True)):
        piled = top in CEILINGS and row[top] > row[top - top // 64 : top].sum()
        found[channel] = row[top] if top == counts.shape[1] - 1 or piled else 0
    return found


def _percentiles(below: NDArray[np.int64], pixels: int) -> NDArray[np.float64]:
    """(P, C) percentiles with linear interpolation between the two pixels around the rank, as NumPy's default."""
    ranks = np.array(PERCENTILES) / 100 * (pixels - 1)
    low, share = np.floor(ranks).astype(np.int64), ranks % 1
    rows = []
    for channel in below:
        first, second = (np.searchsorted(channel, np.minimum(one, pixels - 1), side="right") for one in (low, low + 1))
        rows.append(first * (1 - share) + second * share)
    return np.stack(rows, axis=1)


def _of_numbers(site: NDArray[Any]) -> SiteStatistics:
    flat = site.reshape(len(site), -1).astype(np.float64)
    most, whole = flat.max(axis=1), site.dtype.kind in "ui"
    top = np.iinfo(site.dtype).max if whole else np.inf
    at_most = (flat == most[:, None]).mean(axis=1)
    near = ((flat < most[:, None]) & (flat >= (most - most // 64)[:, None])).mean(axis=1) if whole else at_most
    piled = np.isin(most, CEILINGS) & (at_most > near)
    return SiteStatistics(
        flat.mean(axis=1), flat.std(axis=1), flat.min(axis=1), most, np.percentile(flat, PERCENTILES, axis=1),
        np.where((most == top) | piled, at_most, 0.0),
    )  # fmt: skip


@dataclass(slots=True, eq=False)
class Pool:
    """Statistics of many sites of one kind, gathered one by one.

    Attributes:
        sites: how many.
        total: (C,) sum of site means.
        squares: (C,) sum of site means of squares.
        least: (C,).
        most: (C,).
        counts: (C, BINS), or (C, 0) where the type has no levels.
    """

    sites: int
    total: NDArray[np.float64]
    squares: NDArray[np.float64]
    least: NDArray[np.float64]
    most: NDArray[np.float64]
    counts: NDArray[np.int64]

    @classmethod
    def empty(cls, channels: int) -> Pool:
        """Of no sites."""
        zero, far = np.zeros(channels), np.full(channels, np.inf)
        return cls(0, zero.copy(), zero.copy(), far.copy(), -far, np.zeros((channels, 0), np.int64))

    def add(self, row: Mapping[str, Any]) -> None:
        """Take in a site by its row of the index."""
        mean, std = np.asarray(row["pixel_mean"]), np.asarray(row["pixel_std"])
        self.sites += 1
        self.total += mean
        self.squares += std**2 + mean**2
        self.least = np.minimum(self.least, row["pixel_min"])
        self.most = np.maximum(self.most, row["pixel_max"])

    def add_counts(self, counts: NDArray[np.int64]) -> None:
        """Take in grey-level counts (C, BINS)."""
        self.counts = counts.copy() if not self.counts.size else self.counts + counts

    @property
    def mean(self) -> NDArray[np.float64]:
        """(C,) of all pixels."""
        return self.total / max(self.sites, 1)

    @property
    def std(self) -> NDArray[np.float64]:
        """(C,) of all pixels, population."""
        return np.asarray(np.sqrt(np.maximum(self.squares / max(self.sites, 1) - self.mean**2, 0)))
