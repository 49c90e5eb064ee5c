"""Normalise: centre and scale every feature, by plate, batch or screen, on controls or on all rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from phenostream.profiles.duplicates import CountedIds
from phenostream.profiles.fitted import Scales, dropped, mapped
from phenostream.profiles.groups import assign, refuse_unfitted
from phenostream.profiles.operating import FitSettings, Names, Outcome
from phenostream.profiles.statistics import moments, orders
from phenostream.profiles.tables import feature_names

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from phenostream.profiles.groups import Assigned
    from phenostream.profiles.tables import Source

    Pair = tuple[NDArray[np.float64], NDArray[np.float64]]

_MAD_TO_SIGMA = 1.4826


class Settings(FitSettings):
    """How features are centred and scaled."""

    method: Literal["standard", "robust", "mad"] = Field(
        "standard",
        description="standard: mean and standard deviation; robust: median and quartile distance; mad: median and"
        " 1.4826 times the median absolute deviation",
    )
    by: Names = Field(
        (), description="columns whose groups are fitted one by one (Metadata_Plate); none: the whole table"
    )
    least: int = Field(2, ge=1, description="rows a group must have to be fitted on")
    unfitted: Literal["refuse", "drop"] = Field(
        "refuse", description="groups with fewer: an error, or their rows are left out and counted"
    )
    epsilon: float = Field(1e-18, ge=0, description="mad: added to the scale")
    spreadless: Literal["missing", "keep"] = Field(
        "missing",
        description="features without spread in a group: missing there and counted, or divided by 1 (mad: by epsilon)"
        " as pycytominer does",
    )


def operate(source: Source, settings: Settings, fitted: pa.Table | None = None) -> Outcome:
    """``(x - centre) / scale`` for every feature and group.

    standard: as scikit-learn's StandardScaler (variance divided by n). robust: as its RobustScaler (25th and 75th
    percentile). mad: as pycytominer's ``mad_robustize``. Missing values stay missing and do not count.

    Returns:
        The rows with the chosen features replaced, float32 where they were float32, float64 otherwise. Fitted: one row
        a group and feature: ``count``, ``centre``, ``scale``. Told: ``groups``, ``features``, ``spreadless`` (by
        feature: in how many groups), ``dropped_rows`` and ``dropped_groups``, and where something is fitted
        ``duplicate_ids`` (rows whose ``CellId`` stood before; None where the ids do not fit into `memory`, eight bytes
        each; absent in a table without ids).

    Raises:
        RecipeError: a group without enough rows to fit on (a plate without controls), unless they are to be dropped.
        NotFoundError: a column that is not there, or a group that `fitted` does not know.
    """
    if fitted is not None:
        scales = Scales.read(fitted)
        return Outcome(
            mapped(source, scales), {"groups": len(scales.groups.keys), "features": len(scales.names)}, fitted
        )
    names = feature_names(source.schema(), settings.features)
    ids = CountedIds(source, settings.memory)
    assigned = assign(ids, settings.by, settings.controls)
    duplicates = ids.told()
    poor = refuse_unfitted(assigned, settings.least, drop=settings.unfitted == "drop")
    scales = fit(source, names, assigned, settings)
    told = {
        "groups": len(assigned.groups.keys) - len(poor),
        "features": len(names),
        **_spreadless(scales, poor),
    } | duplicates
    if len(poor):
        source, scales, more = dropped(source, scales, assigned, poor)
        told |= more
    return Outcome(mapped(source, scales), told, scales.table(source.schema()))


def fit(source: Source, names: list[str], assigned: Assigned, settings: Settings) -> Scales:
    """Centre and scale of the features `names` by group; a scale of NaN says that there is no spread."""
    if settings.method == "standard":
        count, (centre, scale) = _standard(source, names, assigned)
    else:
        count, (centre, scale) = _by_order(source, names, assigned, settings)
    if settings.spreadless == "keep":
        lonely = np.isnan(scale) & ~np.isnan(centre)
        scale = np.where(lonely, settings.epsilon if settings.method == "mad" else 1.0, scale)
    elif settings.method == "mad":
        scale = scale + settings.epsilon
    return Scales(assigned.groups, names, count, centre, scale)


def _standard(source: Source, names: list[str], assigned: Assigned) -> tuple[NDArray[np.int64], Pair]:
    found = moments(source, names, assigned)
    # A variance within what rounding makes of a constant is none (the bound of scikit-learn's StandardScaler).
    small = np.finfo(np.float64).eps
    with np.errstate(over="ignore"):
        bound = found.count * small * found.variance + (found.count * found.mean * small) ** 2
    scale = np.where(found.variance <= bound, np.nan, np.sqrt(found.variance))
    return found.count, (found.mean, scale)


def _by_order(
    source: Source, names: list[str], assigned: Assigned, settings: Settings
) -> tuple[NDArray[np.int64], Pair]:
    shares = (0.5,) if settings.method == "mad" else (0.5, 0.25, 0.75)
    found = orders(source, names, assigned, shares=shares, memory=settings.memory)
    centre = found.quantiles[..., 0]
    if settings.method == "mad":
        scale = _MAD_TO_SIGMA * found.deviation
        tiny = scale == 0
    else:
        scale = found.quantiles[..., 2] - found.quantiles[..., 1]
        tiny = scale < 10 * np.finfo(np.float64).eps
    return found.count, (centre, np.where(tiny, np.nan, scale))


def _spreadless(scales: Scales, poor: NDArray[np.int64]) -> dict[str, Any]:
    rich = np.setdiff1d(np.arange(len(scales.groups.keys)), poor)
    counts = np.isnan(scales.scale[rich]).sum(axis=0)
    return {"spreadless": {name: int(n) for name, n in zip(scales.names, counts, strict=True) if n}}
