"""The numbers that the page's scripts draw: wells by column, cells on the map, fields by quality; bounded in size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from phenostream.report import bundle
from phenostream.report.plates import layout

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from phenostream.report.effects import Effects
    from phenostream.report.embedding import Embedding
    from phenostream.report.facts import Facts, Well
    from phenostream.report.survey import Survey
    from phenostream.report.tiles import Tiles

_MOST_NUMBERS = 800_000
_MOST_WELLS = 30_000
_CELL_COLUMNS = 40
_MOST_FIELDS = 4_000
_TEXT = 160
_FIGURES = {
    "focus": ("Focus", "1"),
    "mean": ("Mean intensity", "intensity"),
    "median": ("Median intensity", "intensity"),
    "low": ("1st percentile of intensity", "intensity"),
    "high": ("99th percentile of intensity", "intensity"),
    "spread": ("Standard deviation of intensity", "intensity"),
    "saturated": ("Saturated pixels", "share"),
    "maximal": ("Pixels at the maximum", "share"),
    "slope": ("Slope of the power spectrum", "1"),
}


@dataclass(frozen=True, slots=True)
class Wells:
    """The wells that the page can map, and what was left out to bound its size.

    Attributes:
        told: what the scripts read.
        names: names of the mapped columns, in their order.
        table: (columns, wells) the mapped values.
        keys: (plate, well) of each.
        plates_left: plates beyond those carried.
        columns_left: columns beyond those carried.
    """

    told: dict[str, Any]
    names: Sequence[str]
    table: NDArray[np.float64]
    keys: Sequence[tuple[str, str]]
    plates_left: int
    columns_left: int


def wells(found: Survey, facts: Facts | None, counted: str = "Cells per well") -> Wells:
    """Means by well of every column, the number of rows (called `counted`) and a run's field figures before them."""
    keys, table, columns = _columns(found, facts, counted)
    shown, plates_left = _bounded(keys, len(columns))
    kept = _varying(table[:, shown], columns, max(_MOST_NUMBERS // max(len(shown), 1), 20))
    keys, table, columns = [keys[at] for at in shown], table[np.ix_(kept, shown)], [columns[at] for at in kept]
    told: dict[str, Any] = {
        **_layouts(keys),
        "name": [well[:_TEXT] for _, well in keys],
        "columns": columns,
        "values": bundle.numbers(table),
        "groups": _groups(found, keys),
        "missing": _missing(facts, keys),
    }
    names = [one["n"] for one in columns]
    return Wells(told, names, table, keys, plates_left, len(found.columns) + _extra(facts) - len(columns))


def cells(found: Survey, made: Embedding | None, pictures: Tiles | None, strong: Effects | None) -> dict[str, Any]:
    """The cells of the map: places, identity, pictures, and the values of a few columns to colour them by."""
    sample = found.shown
    count = len(sample.rows)
    columns = _coloured(found, strong)
    parts = np.unique(sample.parts).tolist()
    place = {number: at for at, number in enumerate(parts)}
    told: dict[str, Any] = {
        "count": count,
        "of": found.rows,
        "well": [f"{plate} {well}".strip()[:_TEXT] for plate, well in (found.wells[at] for at in sample.wells)],
        "columns": [
            {"n": found.columns[at].name, "u": found.columns[at].unit, "c": found.columns[at].channel} for at in columns
        ],
        "values": bundle.numbers(sample.values[:, columns].T),
        "groups": {
            name: _indexed([values[at] for at in sample.wells]) for name, values in list(found.groups.items())[:12]
        },
        "parts": [found.paths.get(number, "") for number in parts],
        "part": [place[number] for number in sample.parts.tolist()],
        "control": found.controls(sample).astype(int).tolist(),
    }
    for key, name in (("number", "ObjectNumber"), ("site", found.design.site), ("id", found.design.id)):
        if name and name in sample.metadata.column_names:
            told[key] = [str(one)[:_TEXT] for one in sample.metadata.column(name).to_pylist()]
    if made is not None:
        told |= {"x": bundle.numbers(made.points[:, 0]), "y": bundle.numbers(made.points[:, 1]), "axes": made.axes}
    if pictures is not None:
        told["tile"] = pictures.numbers.tolist()
    return told


def fields(facts: Facts) -> dict[str, Any]:
    """Focus and brightness of every measured field, every k-th where they are over 4,000."""
    step = max(1, -(-len(facts.fields) // _MOST_FIELDS))
    shown = facts.fields[::step]
    channels = [name for name in facts.channels if f"focus_{name}" in facts.figures][:4]
    return {
        "count": len(shown),
        "of": len(facts.fields),
        "well": [f"{one.plate} {one.well} site {one.site} frame {one.frame}"[:_TEXT] for one in shown],
        "rows": [one.rows for one in shown],
        "channels": channels,
        "part": [one.part.relative_to(facts.folder).as_posix() for one in shown],
        "figures": {
            name: bundle.numbers([[one.qc.get(f"{figure}_{name}", np.nan) for one in shown]
                                  for figure in ("mean", "focus", "saturated")])
            for name in channels
        },
    }  # fmt: skip


def figure(name: str) -> tuple[str, str]:
    """A run's quality figure in words, and its unit: ``focus_DNA`` is the focus of DNA, a ratio."""
    if name == "n_objects":
        return "Objects per field", "1"
    kind, _, channel = name.partition("_")
    words, unit = _FIGURES.get(kind, (kind, ""))
    return (f"{words}, {channel}", unit) if channel and kind in _FIGURES else (name, "")


def _columns(
    found: Survey, facts: Facts | None, counted: str
) -> tuple[list[tuple[str, str]], NDArray[np.float64], list[dict[str, str]]]:
    """Wells, the table (columns, wells), and what each column is."""
    known = {key: at for at, key in enumerate(found.wells)}
    order = dict.fromkeys([*((plate, well) for plate in facts.plates for well in facts.plates[plate])] if facts else [])
    keys = list(dict.fromkeys([*order, *found.wells]))
    counts = [float(found.counts[known[key]]) if key in known else 0.0 for key in keys]
    rows: list[list[float]] = [counts]
    columns = [{"n": counted, "u": counted.split(maxsplit=1)[0].lower(), "r": "count"}]
    for name in _run_figures(facts):
        rows.append([_mean(facts, key, name) for key in keys])
        words, unit = ("Cells per field", "cells") if name == "cells" else figure(name)
        columns.append({"n": words, "u": unit, "r": "field", "s": name})
    means = np.full((len(found.columns), len(keys)), np.nan)
    where = [at for at, key in enumerate(keys) if key in known]
    means[:, where] = found.means[[known[keys[at]] for at in where]].T
    columns += [
        {"n": one.name, "u": one.unit, "r": one.role, "f": one.family, "c": one.channel} for one in found.columns
    ]
    return keys, np.vstack([np.array(rows, float).reshape(len(rows), len(keys)), means]), columns


def _run_figures(facts: Facts | None) -> list[str]:
    return ["cells", *(name for name in facts.figures if name != "n_objects")] if facts else []


def _extra(facts: Facts | None) -> int:
    return 1 + len(_run_figures(facts))


def _mean(facts: Facts | None, key: tuple[str, str], name: str) -> float:
    well: Well | None = facts.plates.get(key[0], {}).get(key[1]) if facts else None
    value = well.mean(name) if well else None
    return float(value) if value is not None else np.nan


def _by_plate(keys: Sequence[tuple[str, str]]) -> dict[str, list[int]]:
    """Places of the wells in `keys`, by plate."""
    found: dict[str, list[int]] = {}
    for at, (plate, _) in enumerate(keys):
        found.setdefault(plate, []).append(at)
    return found


def _bounded(keys: Sequence[tuple[str, str]], columns: int) -> tuple[list[int], int]:
    """Whole plates, as many as fit, one at least; and how many are left out."""
    plates = list(_by_plate(keys).values())
    shown: list[int] = []
    for number, of_plate in enumerate(plates):
        if shown and (len(shown) + len(of_plate)) * columns > _MOST_NUMBERS:
            return shown, len(plates) - number
        shown += of_plate[:_MOST_WELLS]
    return shown, 0


def _varying(table: NDArray[np.float64], columns: Sequence[Mapping[str, str]], most: int) -> list[int]:
    """Columns to carry: all, or those before the features and the features that vary most between wells."""
    if len(columns) <= most:
        return list(range(len(columns)))
    spread = np.zeros(len(columns))
    for at, values in enumerate(table):
        finite = values[np.isfinite(values)]
        if len(finite) > 1:
            low, middle, high = np.percentile(finite, [10, 50, 90])
            spread[at] = (high - low) / (abs(middle) + finite.std() + 1e-300)
    spread[[at for at, one in enumerate(columns) if one["r"] != "feature"]] = np.inf
    return sorted(np.argsort(-spread, kind="stable")[:most].tolist())


def _layouts(keys: Sequence[tuple[str, str]]) -> dict[str, Any]:
    plates = _by_plate(keys)
    number = {plate: at for at, plate in enumerate(plates)}
    made = {plate: layout([keys[at][1] for at in of_plate]) for plate, of_plate in plates.items()}
    places = [made[plate].places[well] for plate, well in keys]
    drawn = [
        {
            "name": (plate or "(no plate)")[:_TEXT], "rows": made[plate].rows, "columns": made[plate].columns,
            "rowLabels": list(made[plate].row_labels), "columnLabels": list(made[plate].column_labels),
        }
        for plate in plates
    ]  # fmt: skip
    return {
        "plates": drawn, "plate": [number[plate] for plate, _ in keys],
        "row": [row for row, _ in places], "column": [column for _, column in places],
    }  # fmt: skip


def _groups(found: Survey, keys: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Values of the metadata columns by well, the design's first."""
    known = {key: at for at, key in enumerate(found.wells)}
    names = [name for name in (found.design.group, found.design.controls) if name in found.groups]
    told = {}
    for name in list(dict.fromkeys([*names, *found.groups]))[:12]:
        values = [found.groups[name][known[key]] if key in known else "" for key in keys]
        if any(values):
            told[name] = _indexed(values)
    return told


def _indexed(values: Sequence[str]) -> dict[str, Any]:
    distinct = sorted(set(values), key=_natural)
    place = {value: at for at, value in enumerate(distinct)}
    return {"values": distinct, "of": [place[value] for value in values]}


def _missing(facts: Facts | None, keys: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Why a well has no cells, by place in the list."""
    told = {}
    for at, (plate, well) in enumerate(keys):
        one = facts.plates.get(plate, {}).get(well) if facts else None
        if one and one.states["done"] < one.inputs:
            words = [f"{count} {reason or 'unknown'}" for reason, count in one.reasons.most_common()]
            words += [f"{one.states['waiting']} waiting"] if one.states["waiting"] else []
            told[str(at)] = f"{one.states['done']} of {one.inputs} fields measured; {', '.join(words)}"[:_TEXT]
    return told


def _coloured(found: Survey, strong: Effects | None) -> list[int]:
    """Columns that cells can be coloured by: those of the strongest effects, then each family in turn."""
    place = {one.name: at for at, one in enumerate(found.columns)}
    chosen: dict[int, None] = {}
    for group in strong.groups if strong else ():
        for effect in group.effects[:8]:
            chosen[place[effect.column.name]] = None
    families: dict[tuple[str, str], list[int]] = {}
    for at, one in enumerate(found.columns):
        if not one.positional and found.known[at] and found.low[at] < found.high[at]:
            families.setdefault((one.family, one.channel), []).append(at)
    for turn in range(_CELL_COLUMNS):
        for of_family in families.values():
            if turn < len(of_family) and len(chosen) < _CELL_COLUMNS:
                chosen[of_family[turn]] = None
    return list(chosen)[:_CELL_COLUMNS]


def _natural(name: str) -> tuple[int, float, str]:
    try:
        return 0, float(name), name
    except ValueError:
        return 1, 0.0, name
