"""Activity: are the replicates of a perturbation more alike than they are like controls, or like all else?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from phenostream.benchmark.metrics.average_precision import (
    AveragePrecisions,
    Partners,
    Similarity,
    average_precision,
    mean_average_precision,
)
from phenostream.benchmark.statistics import benjamini_hochberg
from phenostream.errors import NotFoundError, RecipeError
from phenostream.profiles.groups import Groups, control_rows
from phenostream.profiles.statistics import matrix
from phenostream.profiles.tables import feature_names, open_table, require, whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from phenostream.profiles.tables import Source

    Codes = NDArray[np.int64]

Names = tuple[str, ...]


class ActivitySettings(BaseModel):
    """Which profiles belong together, and what they are compared with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: Names = Field(("Metadata_Compound",), description="columns that make profiles replicates of each other")
    controls: dict[str, str | int | float | tuple[str | int | float, ...]] = Field(
        default_factory=dict,
        description="rows that are negatives for all others: column to value or values; without them, replicates of"
        " other perturbations are",
    )
    within: Names = Field((), description="columns that a profile and its negatives share (Metadata_Plate); none: all")
    apart: Names = Field(
        (), description="columns that two replicates must not share (Metadata_Plate: other plates only)"
    )
    features: Literal["model", "all"] | Names = Field("model", description="as in profiles: model, all, or names")
    similarity: Similarity = Field("cosine", description="cosine, correlation or euclidean")
    null_size: int = Field(100_000, ge=100, le=10_000_000, description="random rankings behind each p-value")
    alpha: float = Field(0.05, gt=0, lt=1, description="false discovery rate at which a group counts as active")
    seed: int = Field(0, ge=0, description="of the random rankings")


@dataclass(frozen=True, slots=True)
class Activity:
    """What was found.

    Attributes:
        profiles: one row a query: the columns of `by`, row number, average precision, positives, total.
        groups: one row a group: the columns of `by`, ``mean_average_precision``, ``p_value``, ``corrected_p_value``
            (false discovery rate), ``exact_p_value``, ``members``, ``active``.
        told: settings, counts and exclusions, as plain JSON values.
    """

    profiles: pa.Table
    groups: pa.Table
    told: dict[str, Any]


def activity(where: Source | pa.Table | str | Path, settings: ActivitySettings | None = None, **given: Any) -> Activity:
    """Mean average precision of every perturbation, with permutation p-values and false discovery rate.

    With ``controls``, positives are a profile's replicates and negatives the controls; without, negatives are all
    profiles of other groups. Kalinin et al. (2025), Nature Communications 16:5181.

    Args:
        where: profiles of wells (or cells): a table in memory, a Parquet file or folder, a run folder.
        settings: see :class:`ActivitySettings`; or its fields by name.
        given: fields of the settings.

    Returns:
        Scores by profile and group. Left out and counted in ``told``: features with missing values or without spread,
        profiles with no direction, groups of one.

    Raises:
        NotFoundError: a column that is missing, or no control.
        RecipeError: nothing to compare: no group has two profiles.
    """
    chosen = settings or ActivitySettings(**given)
    source = open_table(where)
    names = feature_names(source.schema(), chosen.features)
    keys = list(dict.fromkeys([*chosen.by, *chosen.within, *chosen.apart, *chosen.controls]))
    require(source.schema(), keys)
    table = whole_of(source, [*keys, *names])
    values, left_out = usable(table, names)
    control = control_rows(table, chosen.controls) if chosen.controls else np.zeros(table.num_rows, bool)
    if chosen.controls and not control.any():
        raise NotFoundError(f"no row is a control: {chosen.controls}", remedy="check the column and its values")
    good = left_out.pop("rows")
    scores, groups = _scored(table, values, control, good, chosen)
    told = {"settings": chosen.model_dump(mode="json"), "profiles": table.num_rows, **left_out}
    return _told(table, scores, groups, chosen, told)


def whole_of(source: Source, names: Sequence[str]) -> pa.Table:
    """The columns `names` of all rows, in memory."""
    return pa.concat_tables(list(source.tables(list(names)))) if names else whole(source)


def usable(table: pa.Table, names: Sequence[str]) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """The features that say something in every row: values (n, kept), and what was left out.

    Left out are features with gaps and features without spread; ``rows`` says which profiles have a direction.
    """
    values = matrix(table, names)
    missing: NDArray[np.bool_] = np.asarray(np.isnan(values).any(axis=0))
    constant: NDArray[np.bool_] = ~missing & np.asarray(values.max(axis=0) == values.min(axis=0))
    kept = np.ascontiguousarray(values[:, ~missing & ~constant])
    if not kept.shape[1]:
        raise RecipeError(
            f"none of {len(names)} features can be used: {missing.sum()} have gaps, {constant.sum()} no spread",
            remedy="leave sparse features or rows out with `profiles select`",
        )
    spread = np.ptp(kept, axis=1) > 0
    return kept, {
        "features": int(kept.shape[1]),
        "features_missing": [name for name, one in zip(names, missing.tolist(), strict=True) if one],
        "features_constant": [name for name, one in zip(names, constant.tolist(), strict=True) if one],
        "profiles_without_direction": int((~spread).sum()),
        "rows": spread,
    }


def codes_of(table: pa.Table, columns: Sequence[str]) -> Codes:
    """(n,) number of each row's combination of `columns`, as they are met."""
    return Groups(tuple(columns)).codes(table).astype(np.int64)


def _scored(
    table: pa.Table,
    values: NDArray[np.float64],
    control: NDArray[np.bool_],
    good: NDArray[np.bool_],
    chosen: ActivitySettings,
) -> tuple[AveragePrecisions, Codes]:
    by = codes_of(table, chosen.by)
    within = tuple(codes_of(table, [name]) for name in chosen.within)
    apart = tuple(codes_of(table, [name]) for name in chosen.apart)
    treated = good & ~control
    positives = Partners(same=(by,), differ=apart, among=treated)
    negatives = Partners(same=within, among=control & good) if chosen.controls else Partners((*within,), (by,), treated)
    # Rows without direction take no part, but keep their places.
    safe = np.where(good[:, None], values, 0.0) + (~good)[:, None] * np.arange(1.0, values.shape[1] + 1)
    found = average_precision(safe, positives, negatives, similarity=chosen.similarity, queries=treated)
    if not np.isfinite(found.value).any():
        raise RecipeError(
            f"no profile has both a replicate by {', '.join(chosen.by)} and a negative",
            remedy="check by, controls, within and apart",
        )
    return found, np.where(treated, by, -1)


def _told(
    table: pa.Table, scores: AveragePrecisions, groups: Codes, chosen: ActivitySettings, told: dict[str, Any]
) -> Activity:
    means = mean_average_precision(scores, groups, null_size=chosen.null_size, seed=chosen.seed)
    first = _first_rows(groups, len(means.value))
    there = (first >= 0) & np.isfinite(means.value)
    corrected = benjamini_hochberg(means.p_value[there])
    by = table.select(list(chosen.by)).take(first[there])
    made = {
        "mean_average_precision": means.value[there],
        "p_value": means.p_value[there],
        "corrected_p_value": corrected,
        "exact_p_value": means.exact_p_value[there],
        "members": means.members[there],
        "active": corrected < chosen.alpha,
    }
    asked = np.isfinite(scores.value)
    rows = table.select(list(chosen.by)).take(np.flatnonzero(asked))
    single = {
        "row": np.flatnonzero(asked),
        "average_precision": scores.value[asked],
        "positives": scores.positives[asked],
        "total": scores.total[asked],
    }
    told |= {
        "groups": int(there.sum()),
        "groups_without_pair": int(((first >= 0) & ~np.isfinite(means.value)).sum()),
        "mean_average_precision": float(means.value[there].mean()),
        "active_share": float((corrected < chosen.alpha).mean()),
    }
    return Activity(_with(rows, single), _with(by, made), told)


def _first_rows(groups: Codes, size: int) -> Codes:
    first = np.full(size, -1, np.int64)
    rows = np.flatnonzero(groups >= 0)[::-1]
    first[groups[rows]] = rows
    return first


def _with(table: pa.Table, columns: dict[str, NDArray[Any]]) -> pa.Table:
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    return table
