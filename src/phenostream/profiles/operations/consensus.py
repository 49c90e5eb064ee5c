"""Consensus: one profile a perturbation from its replicates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field
from scipy.stats import rankdata

from phenostream.errors import OverBudgetError, RecipeError
from phenostream.profiles.operating import Names, Outcome  # noqa: TC001  (pydantic reads it)
from phenostream.profiles.operations import aggregate
from phenostream.profiles.statistics import matrix

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

    from phenostream.profiles.groups import Assigned
    from phenostream.profiles.tables import Source

    Floats = NDArray[np.float64]

_BLOCK_BYTES = 64 << 20


class Settings(aggregate.Settings):
    """What is a replicate of what, and how replicates become one."""

    by: Names = Field(..., min_length=1, description="columns that name a perturbation")
    method: Literal["mean", "median", "modz"] = Field(  # type: ignore[assignment]
        "median", description="modz: replicates that agree with the others weigh more"
    )
    correlation: Literal["spearman", "pearson"] = Field("spearman", description="modz: how agreement is measured")
    least_weight: float = Field(0.01, gt=0, description="modz: no replicate weighs less before weights are scaled")
    precision: int = Field(4, ge=0, description="modz: decimals that weights are rounded to, as pycytominer does")
    count: str = Field("Metadata_Replicate_Count", description="column for the number of replicates; empty: none")


def operate(source: Source, settings: Settings, fitted: pa.Table | None = None) -> Outcome:
    """One row a perturbation; the columns are those of `aggregate`.

    ``modz`` is the moderated z-score of the Connectivity Map (Subramanian et al. 2017): each replicate weighs by its
    mean correlation with the others, negative ones counting as none. As many perturbations at a time are held as
    `memory` has room for, and the table is read once for each such portion. Time grows with the square of the number of
    replicates: cells are better averaged by well first.

    Raises:
        RecipeError: modz with missing values.
        OverBudgetError: modz where one perturbation alone needs more than `memory`. Others as `aggregate`.
    """
    if settings.method != "modz":
        return aggregate.operate(source, settings, fitted)
    return aggregate.aggregated(source, settings, _moderated_groups)


def _moderated_groups(source: Source, names: list[str], assigned: Assigned, settings: Settings) -> Floats:
    """(groups, features) weighted means."""
    made = np.empty((len(assigned.sizes), len(names)))
    for portion in _portions(assigned, len(names), settings.memory):
        for group, values in _gathered(source, names, assigned, portion):
            made[group] = _moderated(values, settings)
    return made


def _portions(assigned: Assigned, features: int, memory: int) -> Iterator[NDArray[np.int64]]:
    """Groups whose rows fit into `memory` together, values and ranks."""
    # Beside the values of a portion stand the ranks of one group, and a block of correlations.
    sizes = 8 * features * assigned.sizes
    largest = int(sizes.max())
    if 2 * largest > memory:
        raise OverBudgetError(
            f"modz of {assigned.sizes.max():,} rows of {features} features needs {2 * largest >> 20:,} MiB,"
            f" `memory` is {memory >> 20:,} MiB",
            remedy="raise `memory`, or `aggregate` cells by well first",
        )
    filled = np.cumsum(sizes)
    start = 0
    while start < len(sizes):
        before = filled[start] - sizes[start]
        stop = int(np.searchsorted(filled, before + memory - largest, side="right"))
        yield np.arange(start, stop)
        start = stop


def _gathered(
    source: Source, names: list[str], assigned: Assigned, portion: NDArray[np.int64]
) -> Iterator[tuple[int, Floats]]:
    """Every group of a portion, with the values (rows, features) of its rows in their order."""
    first, last = int(portion[0]), int(portion[-1])
    starts = np.concatenate([[0], np.cumsum(assigned.sizes[portion])])
    values, put, row = np.empty((starts[-1], len(names))), starts[:-1].copy(), 0
    for table in source.tables(names):
        codes = assigned.codes[row : row + table.num_rows]
        row += table.num_rows
        chosen = np.flatnonzero((codes >= first) & (codes <= last))
        block = matrix(table.take(chosen), names)
        if np.isnan(block).any():
            raise RecipeError("modz cannot weigh profiles with missing values", remedy="`select` with missing: 0 first")
        order = np.argsort(codes[chosen], kind="stable")
        groups, counts = np.unique(codes[chosen], return_counts=True)
        for group, rows in zip(groups, np.split(order, np.cumsum(counts)[:-1]), strict=True):
            place = put[group - first]
            values[place : place + len(rows)] = block[rows]
            put[group - first] += len(rows)
    for place, group in enumerate(portion):
        yield int(group), values[starts[place] : starts[place + 1]]


def _moderated(values: Floats, settings: Settings) -> Any:
    """(d,) weighted mean of the replicates (n, d)."""
    if len(values) == 1:
        return values[0]
    told = _agreement(_standardised(values, settings.correlation))
    weights = np.maximum(told, settings.least_weight)
    return np.round(weights / weights.sum(), settings.precision) @ values


def _standardised(values: Floats, correlation: str) -> Floats:
    """Rows, or their ranks, so that products of rows are correlations; NaN where a row has no spread."""
    made = np.empty_like(values)
    for row, one in enumerate(values):
        made[row] = rankdata(one) if correlation == "spearman" else one
        made[row] -= made[row].mean()
    with np.errstate(invalid="ignore", divide="ignore"):
        made /= np.linalg.norm(made, axis=1, keepdims=True)
    return made


def _agreement(rows: Floats) -> Floats:
    """(n,) mean correlation with the others, negative ones counting as none, those without number not at all."""
    total, count = np.zeros(len(rows)), np.zeros(len(rows))
    step = max(1, _BLOCK_BYTES // (8 * len(rows)))
    for start in range(0, len(rows), step):
        block = rows[start : start + step] @ rows.T
        known = ~np.isnan(block)
        known[np.arange(len(block)), start + np.arange(len(block))] = False
        total[start : start + step] = np.where(known, np.clip(block, 0, 1), 0.0).sum(axis=1)
        count[start : start + step] = known.sum(axis=1)
    # A replicate without spread correlates with nothing: it keeps the least weight.
    return np.asarray(total / np.maximum(count, 1))
