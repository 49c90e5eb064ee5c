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
from phenostream.profiles.groups import Groups, control_rows, known_rows
from phenostream.profiles.statistics import matrix
from phenostream.profiles.tables import feature_names, open_table, require, whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from phenostream.profiles.tables import Source

    Codes = NDArray[np.int64]

Names = tuple[str, ...]

#: Share of rows that lack a feature, and of features that a profile lacks, beyond which it is left out before others
#: are judged by it.
MOSTLY_MISSING = 0.5


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
            (false discovery rate), ``exact_p_value``, ``members``, ``active``, ``corrected_exact_p_value``.
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
        Scores by profile and group. Left out and counted in ``told``: rows without a value in `by`, `within` or `apart`
        (a control needs one in `within` only), profiles and features as in :func:`usable`, profiles with no direction,
        groups of one.

    Raises:
        NotFoundError: a column that is missing, or no control.
        RecipeError: nothing to compare: no row is annotated, no feature can be used, or no group has two profiles.
    """
    chosen = settings or ActivitySettings(**given)
    source = open_table(where)
    names = feature_names(source.schema(), chosen.features)
    keys = list(dict.fromkeys([*chosen.by, *chosen.within, *chosen.apart, *chosen.controls]))
    require(source.schema(), keys)
    table = whole_of(source, [*keys, *names])
    control = control_rows(table, chosen.controls) if chosen.controls else np.zeros(table.num_rows, bool)
    if chosen.controls and not control.any():
        raise NotFoundError(f"no row is a control: {chosen.controls}", remedy="check the column and its values")
    told = {"settings": chosen.model_dump(mode="json"), "profiles": table.num_rows}
    # A control is compared with, and is a replicate of nothing: it need not say of what.
    known = known_rows(table, [*chosen.by, *chosen.within, *chosen.apart])
    known |= control & known_rows(table, chosen.within)
    found = usable(table, names, known)
    good = directed(found.values)
    told |= {"rows_without_annotation": int((~known).sum()), **found.told, **_directionless(good)}
    table, control = table.filter(pa.array(found.rows)), control[found.rows]
    scores, groups = _scored(table, found.values, control, good, chosen)
    return _told(table, np.flatnonzero(found.rows), (scores, groups), chosen, told)


def whole_of(source: Source, names: Sequence[str]) -> pa.Table:
    """The columns `names` of all rows, in memory."""
    return pa.concat_tables(list(source.tables(list(names)))) if names else whole(source)


@dataclass(frozen=True, slots=True, eq=False)
class Usable:
    """What of a table can be compared.

    Attributes:
        values: (rows that are used, features that are used), finite.
        rows: (n,) which rows of the table they are.
        told: names of features and counts of profiles that were left out, as plain JSON values.
    """

    values: NDArray[np.float64]
    rows: NDArray[np.bool_]
    told: dict[str, Any]


def usable(table: pa.Table, names: Sequence[str], among: NDArray[np.bool_]) -> Usable:
    """The features that say something in every profile, of the profiles that say something.

    Only the rows `among` (n,) are looked at. Left out, one after the other: profiles without any number; those that
    lack more than half (:data:`MOSTLY_MISSING`) of the features that no more than half of the others lack; features
    with a gap in any profile that is left; features without spread.

    Raises:
        RecipeError: no rows, or no feature is left.
    """
    if not among.any():
        raise RecipeError("no row takes part: all lack what they are compared by", remedy="annotate the table first")
    values = matrix(table.filter(pa.array(among)), names)
    gaps = np.isnan(values)
    empty: NDArray[np.bool_] = np.asarray(gaps.all(axis=1))
    sparse: NDArray[np.bool_] = ~empty & _mostly_missing(gaps, ~empty)
    values = values[~empty & ~sparse]
    missing: NDArray[np.bool_] = np.asarray(np.isnan(values).any(axis=0) | (len(values) == 0))
    constant: NDArray[np.bool_] = ~missing & (values.max(axis=0, initial=-np.inf) == values.min(axis=0, initial=np.inf))
    kept = np.ascontiguousarray(values[:, ~missing & ~constant])
    if not kept.shape[1]:
        raise RecipeError(
            f"none of {len(names)} features can be used: {missing.sum()} have gaps, {constant.sum()} no spread"
            f" ({empty.sum()} of {among.sum()} profiles are empty, {sparse.sum()} mostly)",
            remedy="leave sparse features or rows out with `profiles select`",
        )
    rows = among.copy()
    rows[among] = ~empty & ~sparse
    told = {
        "features": int(kept.shape[1]),
        "features_missing": [name for name, one in zip(names, missing.tolist(), strict=True) if one],
        "features_constant": [name for name, one in zip(names, constant.tolist(), strict=True) if one],
        "profiles_empty": int(empty.sum()),
        "profiles_mostly_missing": int(sparse.sum()),
    }
    return Usable(kept, rows, told)


def directed(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n,) which profiles have a direction: not all values of one are equal."""
    return np.asarray(np.ptp(values, axis=1) > 0)


def codes_of(table: pa.Table, columns: Sequence[str]) -> Codes:
    """(n,) number of each row's combination of `columns`, as they are met."""
    return Groups(tuple(columns)).codes(table).astype(np.int64)


def _mostly_missing(gaps: NDArray[np.bool_], there: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(n,) profiles that lack most of the features which most of the profiles `there` have."""
    usual = gaps[there].mean(axis=0) <= MOSTLY_MISSING if there.any() else np.zeros(gaps.shape[1], bool)
    return np.asarray(gaps[:, usual].mean(axis=1) > MOSTLY_MISSING) if usual.any() else np.zeros(len(gaps), bool)


def _directionless(good: NDArray[np.bool_]) -> dict[str, int]:
    return {"profiles_without_direction": int((~good).sum())}


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
    table: pa.Table,
    numbers: NDArray[np.intp],
    found: tuple[AveragePrecisions, Codes],
    chosen: ActivitySettings,
    told: dict[str, Any],
) -> Activity:
    """`numbers` (n,) says which row of the table that was given each row of `table` is."""
    scores, groups = found
    means = mean_average_precision(scores, groups, null_size=chosen.null_size, seed=chosen.seed)
    first = _first_rows(groups, len(means.value))
    there = (first >= 0) & np.isfinite(means.value)
    corrected, exact = (benjamini_hochberg(one[there]) for one in (means.p_value, means.exact_p_value))
    by = table.select(list(chosen.by)).take(first[there])
    made = {
        "mean_average_precision": means.value[there],
        "p_value": means.p_value[there],
        "corrected_p_value": corrected,
        "exact_p_value": means.exact_p_value[there],
        "members": means.members[there],
        "active": corrected < chosen.alpha,
        "corrected_exact_p_value": exact,
    }
    asked = np.isfinite(scores.value)
    rows = table.select(list(chosen.by)).take(np.flatnonzero(asked))
    single = {
        "row": numbers[asked],
        "average_precision": scores.value[asked],
        "positives": scores.positives[asked],
        "total": scores.total[asked],
    }
    told |= {
        "groups": int(there.sum()),
        "groups_without_pair": int(((first >= 0) & ~np.isfinite(means.value)).sum()),
        "mean_average_precision": float(means.value[there].mean()),
        "active_share": float((corrected < chosen.alpha).mean()),
        "active_share_exact": float((exact < chosen.alpha).mean()),
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
