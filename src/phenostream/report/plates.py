"""Plate maps: wells laid out as on the plate, coloured by one figure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from phenostream.report import colours

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from phenostream.report.facts import Facts, Well

#: Rows and columns of the plates one can buy, 6 to 1,536 wells.
SIZES = ((2, 3), (3, 4), (4, 6), (6, 8), (8, 12), (16, 24), (32, 48))
_WELL = re.compile(r"([A-Z]{1,2})0*([1-9]\d{0,2})")
_MAX_PLATES = 12
_MAX_MARKS = 20_000
_LIST_COLUMNS = 24


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the wells of a plate lie: rows, columns, labels, and (row, column) of each well by name."""

    rows: int
    columns: int
    row_labels: Sequence[str]
    column_labels: Sequence[str]
    places: Mapping[str, tuple[int, int]]


class Mark(NamedTuple):
    """One well as drawn: place, colour (empty where there is no value), sign, and what it says on hover."""

    x: int
    y: int
    colour: str
    sign: str
    text: str


@dataclass(frozen=True, slots=True)
class Map:
    """One figure over one plate."""

    title: str
    marks: Sequence[Mark]
    summary: str
    low: str = ""
    high: str = ""


@dataclass(frozen=True, slots=True)
class Plate:
    """One plate: its layout, its maps, and the same values as a table (header, rows)."""

    name: str
    layout: Layout
    maps: Sequence[Map]
    header: Sequence[str]
    table: Sequence[Sequence[str]]


class Line(NamedTuple):
    """A plate in one line."""

    name: str
    wells: int
    inputs: int
    done: int
    cells: int


def row_name(index: int) -> str:
    """A to Z, then AA to AF, for rows from 0."""
    second, first = divmod(index, 26)
    return (chr(ord("A") + second - 1) if second else "") + chr(ord("A") + first)


def place_of(well: str) -> tuple[int, int] | None:
    """Row and column from 0 of a well named like ``A4`` or ``AF48``; None for other names."""
    match = _WELL.fullmatch(well.upper())
    if match is None:
        return None
    row = 0
    for letter in match[1]:
        row = row * 26 + ord(letter) - ord("A") + 1
    return row - 1, int(match[2]) - 1


def layout(wells: Iterable[str]) -> Layout:
    """The smallest plate of a usual size that has all `wells`; wells with other names are laid out in reading order."""
    names = list(wells)
    known = {name: place_of(name) for name in names}
    if any(place is None for place in known.values()):
        columns = min(len(names), _LIST_COLUMNS)
        listed = {name: divmod(index, columns) for index, name in enumerate(names)}
        return Layout(-(-len(names) // columns), columns, (), (), listed)
    places = {name: place for name, place in known.items() if place is not None}
    rows, columns = (1 + max(place[axis] for place in places.values()) for axis in (0, 1))
    size = next(((r, c) for r, c in SIZES if rows <= r and columns <= c), (rows, columns))
    return Layout(*size, [row_name(i) for i in range(size[0])], [str(i + 1) for i in range(size[1])], places)


def plates(facts: Facts) -> list[Plate]:
    """The plates that are drawn: in the order of the plan, at most 12, fewer where wells are many."""
    figures = _figures(facts)
    scales = {name: _scale(facts, name) for name, _ in figures}
    drawn: list[Plate] = []
    marks = 0
    for name, wells in facts.plates.items():
        made = layout(wells)
        marks += made.rows * made.columns * (len(figures) + 1)
        if len(drawn) == _MAX_PLATES or (drawn and marks > _MAX_MARKS):
            break
        maps = [_map(title, figure, wells, made, scales[figure]) for figure, title in figures]
        drawn.append(Plate(name or "(no plate)", made, [*maps, _states(wells, made)], *_table(wells, figures)))
    return drawn


def lines(facts: Facts) -> list[Line]:
    """Every plate in one line each."""
    return [
        Line(
            name or "(no plate)",
            len(wells),
            sum(well.inputs for well in wells.values()),
            sum(well.states["done"] for well in wells.values()),
            sum(well.cells for well in wells.values()),
        )
        for name, wells in facts.plates.items()
    ]


def number(value: float | None) -> str:
    """A figure in about three digits."""
    if value is None or not np.isfinite(value):
        return "–"  # noqa: RUF001  (a dash for no value)
    if value and (abs(value) >= 1e6 or abs(value) < 1e-3):
        return f"{value:.2e}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _figures(facts: Facts) -> list[tuple[str, str]]:
    """What is mapped: cells, then intensity and focus of the first channels."""
    wanted = [("cells", "Cells per field")]
    wanted += [(f"mean_{channel}", f"Mean intensity, {channel}") for channel in facts.channels[:3]]
    focus = [name for name in facts.figures if name.startswith("focus_")]
    return wanted + [(name, f"Focus, {name.removeprefix('focus_')}") for name in focus[:2]]


def _scale(facts: Facts, name: str) -> tuple[float, float]:
    """Ends of the colour scale, shared by all plates: the 2nd and 98th percentile of the wells."""
    values = [well.mean(name) for wells in facts.plates.values() for well in wells.values()]
    known = np.array([value for value in values if value is not None and np.isfinite(value)])
    if known.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(known, [2, 98]) if known.size > 20 else (known.min(), known.max())
    return float(low), float(high)


def _map(title: str, name: str, wells: Mapping[str, Well], made: Layout, scale: tuple[float, float]) -> Map:
    marks, known = [], {}
    for well, figures in wells.items():
        value = figures.mean(name)
        if value is not None and np.isfinite(value):
            known[well] = value
        row, column = made.places[well]
        colour = _colour(known.get(well), scale)
        text = f"{well}: {number(known.get(well))}" if well in known else f"{well}: {_why(figures)}"
        marks.append(Mark(column, row, colour, _sign(figures), text))
    return Map(title, marks, _summary(known), number(scale[0]), number(scale[1]))


def _colour(value: float | None, scale: tuple[float, float]) -> str:
    if value is None:
        return ""
    low, high = scale
    share = (value - low) / (high - low) if high > low else 0.5
    return colours.ramp()[int(np.clip(share, 0, 1) * 255)]


def _summary(known: Mapping[str, float]) -> str:
    if not known:
        return "no well has a value"
    least, most = (pick(known, key=lambda well: known[well]) for pick in (min, max))
    middle = float(np.median(list(known.values())))
    return f"from {number(known[least])} in {least} to {number(known[most])} in {most}, median {number(middle)}"


def _states(wells: Mapping[str, Well], made: Layout) -> Map:
    marks = []
    for well, figures in wells.items():
        row, column = made.places[well]
        whole = figures.states["done"] == figures.inputs
        colour = "var(--ok)" if whole else "var(--partly)" if figures.states["done"] else _missing(figures)
        marks.append(Mark(column, row, colour, _sign(figures), f"{well}: {_why(figures)}"))
    affected = [well for well, figures in wells.items() if figures.reasons]
    summary = f"inputs rejected or failed in {len(affected)} of {len(wells)} wells"
    return Map("Not measured", marks, summary + (f": {', '.join(affected[:8])}" if affected else ""))


def _missing(figures: Well) -> str:
    return "var(--bad)" if figures.reasons else "var(--wait)"


def _sign(figures: Well) -> str:
    """A sign beside the colour: x nothing measured, / some not measured, . still waiting."""
    if not figures.states["done"]:
        return "×" if figures.reasons else "·"  # noqa: RUF001  (a cross, drawn)
    return "/" if figures.reasons else ""


def _why(figures: Well) -> str:
    if figures.states["done"] == figures.inputs:
        return f"all {figures.inputs} measured" if figures.inputs > 1 else "measured"
    words = [f"{count} {reason or 'unknown'}" for reason, count in figures.reasons.most_common()]
    if figures.states["waiting"]:
        words.append(f"{figures.states['waiting']} waiting")
    return f"{figures.states['done']} of {figures.inputs} measured; {', '.join(words)}"


def _table(wells: Mapping[str, Well], figures: Sequence[tuple[str, str]]) -> tuple[list[str], list[list[str]]]:
    header = ["Well", *(title for _, title in figures), "Cells", "Fields"]
    rows = []
    for well in sorted(wells, key=lambda name: (place_of(name) or (10**6, 0), name)):
        told = wells[well]
        values = [number(told.mean(name)) for name, _ in figures]
        rows.append([well, *values, f"{told.cells:,}", f"{told.states['done']} of {told.inputs}"])
    return header, rows
