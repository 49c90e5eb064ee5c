"""Histograms of a few features, each of another family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from phenostream.report.plates import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from phenostream.report.survey import Survey
    from phenostream.values import Column

#: What a biologist looks at first; the channel is the first that has it.
_WANTED = (
    ("AreaShape", "Area"),
    ("AreaShape", "FormFactor"),
    ("AreaShape", "Eccentricity"),
    ("Intensity", "MeanIntensity"),
    ("Intensity", "IntegratedIntensity"),
    ("Intensity", "StdIntensity"),
    ("Neighbors", "FirstClosestDistance"),
    ("Granularity", "1"),
)
_SHOWN = 8
_BINS = 40


class Bar(NamedTuple):
    """One bin: left edge and height, both 0 to 1, and what it says on hover."""

    x: float
    height: float
    text: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """One feature over the sampled cells, between its 0.5th and 99.5th percentile."""

    name: str
    unit: str
    bars: Sequence[Bar]
    low: str
    high: str
    median: str
    median_at: float
    summary: str


@dataclass(frozen=True, slots=True)
class Distributions:
    """Histograms, and of how many of all cells they are."""

    histograms: Sequence[Histogram]
    sampled: int
    features: int


def distributions(found: Survey) -> Distributions:
    """Histograms of up to eight features over the sampled cells."""
    features = {one.name: place for place, one in enumerate(found.columns) if one.role == "feature"}
    chosen = _choose([found.columns[place] for place in features.values()])
    made = [_histogram(column, found.sample.values[:, features[column.name]]) for column in chosen]
    return Distributions([one for one in made if one], len(found.sample.rows), len(features))


def _choose(features: Sequence[Column]) -> list[Column]:
    chosen: list[Column] = []
    for family, word in _WANTED:
        for column in features:
            stem = column.name.removeprefix(f"{column.compartment}_{family}_").removesuffix(f"_{column.channel}")
            if column.family == family and stem.removesuffix("_Adjacent") == word:
                chosen.append(column)
                break
    rest = [column for column in features if not column.positional and column not in chosen]
    return (chosen or rest)[:_SHOWN]


def _histogram(column: Column, values: NDArray[np.float32]) -> Histogram | None:
    known = values[np.isfinite(values)].astype(float)
    if known.size == 0:
        return None
    low, median, high = np.percentile(known, [0.5, 50, 99.5])
    if high <= low:
        low, high = low - 0.5, high + 0.5
    counts, edges = np.histogram(known, _BINS, (low, high))
    top = counts.max() or 1
    bars = [
        Bar(
            round(i / _BINS, 4), round(count / top, 4), f"{number(edges[i])} to {number(edges[i + 1])}: {count:,} cells"
        )
        for i, count in enumerate(counts.tolist())
    ]
    summary = f"median {number(median)}, 99 % of cells between {number(low)} and {number(high)}"
    at = round(float((median - low) / (high - low)), 4)
    return Histogram(column.name, column.unit, bars, number(low), number(high), number(median), at, summary)
