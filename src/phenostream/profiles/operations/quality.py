"""Quality: cells that are no measurement of a cell are left out, each with a reason that is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import ByteSize, Field, model_validator

from phenostream.errors import NotFoundError, RecipeError
from phenostream.profiles.groups import assign
from phenostream.profiles.operating import Names, OperationSettings, Outcome
from phenostream.profiles.schema import CELL_ID
from phenostream.profiles.statistics import orders
from phenostream.profiles.tables import Filtered, feature_names, numbers
from phenostream.values import columns_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phenostream.profiles.tables import Source

_MAD_TO_SIGMA = 1.4826
_SMOOTH: tuple[tuple[float, Literal["value", "mads"]], ...] = ((0.6, "value"), (1.5, "mads"))


class Rule(OperationSettings):
    """One column, and the values at which a cell is left out."""

    column: str = Field(description="a feature")
    below: float | None = Field(None, description="left out below this")
    above: float | None = Field(None, description="left out above this")
    unit: Literal["value", "median", "mads"] = Field(
        "value", description="value: as it stands; median: times the group's median; mads: robust z-score in the group"
    )

    @model_validator(mode="after")
    def _a_limit(self) -> Rule:
        if self.below is None and self.above is None:
            raise ValueError("a rule needs `below`, `above` or both")
        return self


class Settings(OperationSettings):
    """The rules, by reason word."""

    rules: dict[str, Rule | tuple[Rule, ...]] = Field(
        default_factory=dict,
        description="reason word to a rule, or to rules that must all hold; none: blur, saturation and debris as far as"
        " the table has the columns",
    )
    by: Names = Field(("Metadata_Plate",), description="columns whose groups have their own median and spread")
    memory: ByteSize = Field(ByteSize(2 << 30), description="bytes that columns may take while medians are found")


def operate(source: Source, settings: Settings, fitted: pa.Table | None = None) -> Outcome:
    """The rows that no rule leaves out; a row that several would counts under the first.

    A missing value breaks no rule. The rules of the default are :func:`default_rules`.

    Returns:
        The rows. Rejected: ``row``, ``CellId`` where there is one, ``reason``. Told: ``rows``, ``kept``, ``rejected``
        by reason, ``rules``.

    Raises:
        NotFoundError: a rule's column is not there, or the default finds none.
        RecipeError: no row would be left.
    """
    del fitted
    schema = source.schema()
    rules = _rules(schema, settings)
    columns = list(dict.fromkeys(rule.column for chain in rules.values() for rule in chain))
    feature_names(schema, columns)
    verdict = _verdicts(source, rules, columns, settings)
    words = list(rules)
    counts = np.bincount(verdict[verdict >= 0], minlength=len(words))
    kept = int((verdict < 0).sum())
    if not kept:
        raise RecipeError(f"the rules leave none of {len(verdict):,} cells", remedy="loosen them")
    told = {
        "rows": len(verdict), "kept": kept, "rejected": {word: int(n) for word, n in zip(words, counts, strict=True)},
        "rules": {word: [rule.model_dump(exclude_none=True) for rule in chain] for word, chain in rules.items()},
    }  # fmt: skip
    return Outcome(Filtered(source, verdict < 0), told, rejected=_rejected(source, verdict, words))


def default_rules(schema: pa.Schema) -> dict[str, tuple[Rule, ...]]:
    """Rules for the columns that `schema` has, of its first compartment with an area.

    debris: an area under a quarter of the plate's median. saturation: in any channel, a quarter of the pixels at the
    top of the scale (UpperQuartileIntensity at 1). blur: neighbouring pixels (3 apart) are alike along and across
    (Texture_Correlation above 0.6, and above the plate's median by 1.5 robust standard deviations).
    """
    features = [column for column in columns_of(schema) if column.role == "feature"]
    names = {column.name for column in features}
    area = next((one for one in features if one.name == f"{one.compartment}_AreaShape_Area"), None)
    compartment = area.compartment if area else next((one.compartment for one in features if one.compartment), "")
    channels = list(dict.fromkeys(one.channel for one in features if one.family == "Intensity" and one.channel))
    rules: dict[str, tuple[Rule, ...]] = {}
    for channel in channels:
        rules |= _of_channel(compartment, channel, names, several=len(channels) > 1)
    if area:
        rules["debris"] = (Rule(column=area.name, below=0.25, unit="median"),)
    return rules


def _of_channel(compartment: str, channel: str, names: set[str], *, several: bool) -> dict[str, tuple[Rule, ...]]:
    end = f"-{channel}" if several else ""
    made: dict[str, tuple[Rule, ...]] = {}
    if (name := f"{compartment}_Intensity_UpperQuartileIntensity_{channel}") in names:
        made[f"saturation{end}"] = (Rule(column=name, above=1 - 1e-6),)
    grain = [f"{compartment}_Texture_Correlation_{channel}_3_{direction}_256" for direction in ("00", "02")]
    if names.issuperset(grain):
        # Smooth both ways: by itself, and beside the other cells of the plate, since large nuclei are smoother.
        made[f"blur{end}"] = tuple(
            Rule(column=name, above=limit, unit=unit) for name in grain for limit, unit in _SMOOTH
        )
    return made


def _rules(schema: pa.Schema, settings: Settings) -> dict[str, tuple[Rule, ...]]:
    if not settings.rules:
        if found := default_rules(schema):
            return found
        raise NotFoundError("no column here that a default rule knows", remedy="write `rules` for your columns")
    return {word: rule if isinstance(rule, tuple) else (rule,) for word, rule in settings.rules.items()}


def _verdicts(
    source: Source, rules: dict[str, tuple[Rule, ...]], columns: list[str], settings: Settings
) -> NDArray[np.int16]:
    """(n,) place of the first rule that a row breaks, -1 where none."""
    relative = any(rule.unit != "value" for chain in rules.values() for rule in chain)
    assigned = assign(source, settings.by if relative else ())
    found = orders(source, columns, assigned, memory=settings.memory) if relative else None
    verdicts, start = [], 0
    for table in source.tables(columns):
        codes = assigned.codes[start : start + table.num_rows]
        start += table.num_rows
        verdict = np.full(table.num_rows, -1, np.int16)
        for place, chain in enumerate(rules.values()):
            broken = np.ones(table.num_rows, bool)
            for rule in chain:
                column = columns.index(rule.column)
                values = numbers(table.column(rule.column))
                if found is not None and rule.unit != "value":
                    centre, spread = found.quantiles[codes, column, 0], found.deviation[codes, column]
                    values = _relative(values, centre, spread, rule.unit)
                broken &= _breaks(values, rule)
            verdict[broken & (verdict < 0)] = place
        verdicts.append(verdict)
    return np.concatenate(verdicts)


def _relative(values: Any, centre: Any, spread: Any, unit: str) -> Any:
    with np.errstate(invalid="ignore", divide="ignore"):
        if unit == "median":
            return values / np.where(centre == 0, np.nan, centre)
        return (values - centre) / np.where(spread == 0, np.nan, _MAD_TO_SIGMA * spread)


def _breaks(values: NDArray[np.float64], rule: Rule) -> NDArray[np.bool_]:
    low = values < rule.below if rule.below is not None else np.zeros(len(values), bool)
    return low | (values > rule.above) if rule.above is not None else low


def _rejected(source: Source, verdict: NDArray[np.int16], words: list[str]) -> pa.Table:
    rows = np.flatnonzero(verdict >= 0)
    told: dict[str, Any] = {"row": pa.array(rows, pa.int64())}
    if CELL_ID in source.schema().names:
        ids, start = [], 0
        for table in source.tables([CELL_ID]):
            gone = verdict[start : start + table.num_rows] >= 0
            start += table.num_rows
            ids.append(table.filter(pa.array(gone)).column(CELL_ID))
        told[CELL_ID] = pa.chunked_array([chunk for column in ids for chunk in column.chunks], pa.string())
    told["reason"] = pa.array([words[one] for one in verdict[rows]], pa.string())
    return pa.table(told)
