"""Consensus: one profile a perturbation from its replicates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field
from scipy.stats import rankdata

from phenostream.errors import RecipeError
from phenostream.profiles.groups import assign
from phenostream.profiles.operating import Names, Outcome
from phenostream.profiles.operations import aggregate
from phenostream.profiles.statistics import matrix
from phenostream.profiles.tables import Held, feature_names, whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phenostream.profiles.tables import Source


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
    mean correlation with the others, negative ones counting as none. The table is held in memory.

    Raises:
        RecipeError: modz with missing values. Others as `aggregate`.
    """
    if settings.method != "modz":
        return aggregate.operate(source, settings, fitted)
    done = aggregate.operate(source, settings.model_copy(update={"method": "mean"}))
    names = [name for name in feature_names(source.schema(), settings.features) if name not in settings.by]
    table = whole(source)
    values = matrix(table, names)
    if np.isnan(values).any():
        raise RecipeError("modz cannot weigh profiles with missing values", remedy="`select` with missing: 0 first")
    assigned = assign(source, settings.by)
    keyed = {key: values[assigned.codes == number] for number, key in enumerate(assigned.groups.keys)}
    means = done.table()
    keys = zip(*(means.column(name).to_pylist() for name in settings.by), strict=True)
    made = np.array([_moderated(keyed[key], settings) for key in keys])
    for place, name in enumerate(names):
        index = means.schema.get_field_index(name)
        means = means.set_column(index, means.schema.field(index), pa.array(made[:, place]))
    return Outcome(Held(means), done.told)


def _moderated(values: NDArray[np.float64], settings: Settings) -> Any:
    """(d,) weighted mean of the replicates (n, d)."""
    if len(values) == 1:
        return values[0]
    ranked = np.array([rankdata(row) for row in values]) if settings.correlation == "spearman" else values
    with np.errstate(invalid="ignore", divide="ignore"):
        agreement = np.clip(np.corrcoef(ranked), 0, None)
    np.fill_diagonal(agreement, np.nan)
    # A replicate without spread correlates with nothing: it keeps the least weight.
    told = np.where(np.isnan(agreement), 0.0, agreement).sum(axis=1) / np.maximum((~np.isnan(agreement)).sum(axis=1), 1)
    weights = np.maximum(told, settings.least_weight)
    return np.round(weights / weights.sum(), settings.precision) @ values
