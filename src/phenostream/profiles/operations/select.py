"""Select: leave out features that say nothing, say the same as others, or are mostly missing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from phenostream.errors import NotFoundError, RecipeError
from phenostream.profiles.groups import assign, refuse_unfitted
from phenostream.profiles.operating import FitSettings, Names, Outcome
from phenostream.profiles.rank_correlation import rank_correlations
from phenostream.profiles.statistics import correlations, frequencies, moments
from phenostream.profiles.tables import Mapped, feature_names, numbers, require

if TYPE_CHECKING:
    from phenostream.profiles.groups import Assigned
    from phenostream.profiles.tables import Source

    Found = dict[str, float]

Rule = Literal["variance", "frequency", "correlation", "missing", "outlier", "noise", "blocklist"]


class Settings(FitSettings):
    """Which rules, in which order, with which cut-offs; the defaults of the cut-offs are pycytominer's."""

    rules: tuple[Rule, ...] = Field(
        ("missing", "variance", "frequency", "correlation", "outlier"),
        description="one after the other, each on the features that the ones before it kept",
    )
    variance: float = Field(1e-6, ge=0, description="variance: kept above this")
    frequency: float = Field(0.05, ge=0, le=1, description="frequency: second most common value over the most common")
    unique: float = Field(0.01, ge=0, le=1, description="frequency: distinct values over rows")
    correlation: float = Field(0.9, ge=0, le=1, description="correlation: of a pair above this, one goes")
    correlation_method: Literal["pearson", "spearman"] = Field(
        "pearson", description="correlation: of the values, or of their ranks"
    )
    signed: bool = Field(True, description="correlation: strong negative correlation does not count (as pycytominer)")
    missing: float = Field(0.05, ge=0, le=1, description="missing: kept up to this share of missing values")
    outlier: float = Field(500.0, gt=0, description="outlier: kept where no value lies beyond plus or minus this")
    noise_by: Names = Field((), description="noise: columns whose groups are replicates of one perturbation")
    noise: float = Field(0.8, gt=0, description="noise: kept up to this mean standard deviation within replicates")
    blocklist: Names | Path = Field((), description="blocklist: names, or a text file with one name a line")


def operate(source: Source, settings: Settings, fitted: pa.Table | None = None) -> Outcome:
    """The table without the features that any of the rules leaves out.

    Every rule gives the features that pycytominer's function of that purpose gives (``variance_threshold``,
    ``frequency_threshold``, ``correlation_threshold``, ``drop_na_columns``, ``drop_outliers``, ``noise_removal``,
    ``blocklist``). Columns that are not among the chosen features stay.

    Returns:
        The rows. Fitted: one row a feature left out: ``feature``, ``rule``, ``value`` (what it was judged by; null for
        the blocklist). Told: ``kept``, ``left_out`` by rule.

    Raises:
        RecipeError: no feature would be left, or a rule lacks its settings.
        OverBudgetError: frequency or rank correlation of more rows than `memory` allows.
    """
    names = feature_names(source.schema(), settings.features)
    if fitted is None:
        fitted = _judge(source, names, settings)
    require(fitted.schema, ["feature", "rule"])
    gone = {str(name) for name in fitted.column("feature").to_pylist()}
    kept = [name for name in names if name not in gone]
    if not kept:
        raise RecipeError(f"none of {len(names)} features is left", remedy="loosen the cut-offs, or check the table")
    rules = [str(rule) for rule in fitted.column("rule").to_pylist()]
    told = {"kept": len(kept), "left_out": {rule: rules.count(rule) for rule in dict.fromkeys(rules)}}
    return Outcome(without(source, gone), told, fitted)


def without(source: Source, gone: set[str]) -> Source:
    """`source` less some columns, which are not read either."""
    schema = source.schema()
    left = pa.schema([field for field in schema if field.name not in gone])
    return Mapped(source, left, lambda table, names: table.select(list(names)), lambda names: names)


@dataclass(frozen=True, slots=True)
class _Rows:
    """What the rules judge by, read once for all of them."""

    source: Source
    assigned: Assigned
    count: Found
    mean: Found
    variance: Found

    @classmethod
    def of(cls, source: Source, names: list[str], assigned: Assigned) -> _Rows:
        told = moments(source, names, assigned)
        found = (dict(zip(names, one[0].tolist(), strict=True)) for one in (told.count, told.mean, told.variance))
        return cls(source, assigned, *found)

    @property
    def number(self) -> int:
        return int(self.assigned.fitting[0])


def _judge(source: Source, names: list[str], settings: Settings) -> pa.Table:
    judged: list[tuple[str, str, float | None]] = []
    assigned = assign(source, (), settings.controls)
    refuse_unfitted(assigned, 2, drop=False)
    rows = _Rows.of(source, names, assigned)
    left = names
    for rule in settings.rules:
        if not left:
            break
        found = _RULES[rule](rows, left, settings)
        judged += [(name, rule, found[name]) for name in left if name in found]
        left = [name for name in left if name not in found]
    columns = list(zip(*judged, strict=True)) or [(), (), ()]
    kinds = (pa.string(), pa.string(), pa.float64())
    arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    return pa.table(arrays, names=["feature", "rule", "value"])


def _variance(rows: _Rows, names: list[str], settings: Settings) -> Found:
    if settings.variance == 0:
        # Rounding gives a constant a tiny variance; its range is zero for sure.
        least, most = _range(rows, names)
        return {name: 0.0 for name in names if not most[name] - least[name] > 0}
    return {name: rows.variance[name] for name in names if not rows.variance[name] > settings.variance}


def _missing(rows: _Rows, names: list[str], settings: Settings) -> Found:
    shares = {name: (rows.number - rows.count[name]) / rows.number for name in names}
    return {name: share for name, share in shares.items() if share > settings.missing}


def _outlier(rows: _Rows, names: list[str], settings: Settings) -> Found:
    least, most = _range(rows, names)
    largest = {name: max(abs(least[name]), abs(most[name])) for name in names if most[name] >= least[name]}
    return {name: value for name, value in largest.items() if value > settings.outlier}


def _frequency(rows: _Rows, names: list[str], settings: Settings) -> Found:
    found = {}
    counts = frequencies(rows.source, names, rows.assigned.codes >= 0, memory=settings.memory)
    for name, (different, most, second) in zip(names, counts.tolist(), strict=True):
        ratio, share = second / most if most else 0.0, different / rows.number
        if ratio < settings.frequency or share < settings.unique:
            found[name] = ratio if ratio < settings.frequency else share
    return found


def _correlation(rows: _Rows, names: list[str], settings: Settings) -> Found:
    """Of each pair above the cut-off, the one goes that is more correlated with all features together."""
    matrix_ = _correlations(rows, names, settings)
    total = np.nansum(np.abs(matrix_), axis=0)
    place = np.empty(len(names), int)
    place[np.argsort(total, kind="stable")] = np.arange(len(names))
    judged = np.tril(matrix_ if settings.signed else np.abs(matrix_), -1)
    found: Found = {}
    for row, column in np.argwhere(judged > settings.correlation):
        loser = row if place[row] > place[column] else column
        found[names[loser]] = max(found.get(names[loser], 0.0), float(judged[row, column]))
    return found


def _correlations(rows: _Rows, names: list[str], settings: Settings) -> Any:
    taking = rows.assigned.codes >= 0
    if settings.correlation_method == "spearman":
        return rank_correlations(rows.source, names, taking, int(settings.memory))
    spread = np.sqrt([rows.variance[name] for name in names])
    centre = np.nan_to_num([rows.mean[name] for name in names])
    return correlations(rows.source, names, taking, centre, np.where(spread > 0, spread, 1.0))


def _noise(rows: _Rows, names: list[str], settings: Settings) -> Found:
    if not settings.noise_by:
        raise RecipeError("the rule noise needs replicates", remedy="set `noise_by: [Metadata_Compound]`")
    groups = assign(rows.source, settings.noise_by, settings.controls)
    spread = np.sqrt(moments(rows.source, names, groups).variance)
    told = np.nanmean(spread, axis=0)
    return {name: float(one) for name, one in zip(names, told, strict=True) if one > settings.noise}


def _blocklist(_rows: _Rows, names: list[str], settings: Settings) -> dict[str, Any]:
    listed = settings.blocklist
    if isinstance(listed, Path):
        if not listed.is_file():
            raise NotFoundError(f"no blocklist at {listed}", remedy="give a text file with one name a line")
        listed = tuple(line.strip() for line in listed.read_text(encoding="utf-8").splitlines())
    if not listed:
        raise RecipeError("the rule blocklist has no names", remedy="set `blocklist` to names or a file")
    return {name: None for name in names if name in set(listed)}


_RULES: dict[str, Any] = {
    "variance": _variance, "frequency": _frequency, "correlation": _correlation, "missing": _missing,
    "outlier": _outlier, "noise": _noise, "blocklist": _blocklist,
}  # fmt: skip


def _range(rows: _Rows, names: list[str]) -> tuple[Found, Found]:
    least, most, start = dict.fromkeys(names, np.inf), dict.fromkeys(names, -np.inf), 0
    for table in rows.source.tables(names):
        taking = rows.assigned.codes[start : start + table.num_rows] >= 0
        start += table.num_rows
        for name in names:
            values = numbers(table.column(name))[taking]
            values = values[~np.isnan(values)]
            least[name] = min(least[name], float(values.min(initial=np.inf)))
            most[name] = max(most[name], float(values.max(initial=-np.inf)))
    return least, most
