"""The page's figures as PNG and SVG files, and its tables as CSV."""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from phenostream.errors import NotFoundError
from phenostream.profiles import replacing
from phenostream.report import phenotype_figures
from phenostream.report.colours import GROUPS
from phenostream.report.plates import layout
from phenostream.values import columns_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from phenostream.report.contents import Contents
    from phenostream.report.data import Wells
    from phenostream.report.effects import Effects, Group
    from phenostream.report.embedding import Embedding

    # Name, header and rows.
    _Table = tuple[str, Sequence[str], Iterable[Sequence[Any]]]

_ACCENT = "#0b6477"
_DOWN = "#b26a2b"
_GREY = "#9aa0a6"
_SHAPES = "o^sDvPH"
_STYLE: Any = {
    "font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "phenostream",
    "axes.titlelocation": "left", "figure.dpi": 150, "axes.titlesize": 10, "svg.fonttype": "none",
    "text.parse_math": False,
}  # fmt: skip
_MOST_PLATES = 12
_MOST_MAPS = 8


def draw(contents: Contents, folder: Path) -> list[Path]:
    """Write every figure as PNG and SVG and every table as CSV into `folder`, which is made where it is missing.

    Returns:
        The paths written, in a fixed order; the same contents give the same bytes with the same matplotlib.

    Raises:
        NotFoundError: there is no folder to make it in.
        DiskFullError: no room.
    """
    if not folder.parent.is_dir():
        raise NotFoundError(f"no folder {folder.parent}", remedy="make it first")
    folder.mkdir(exist_ok=True)
    written = []
    with mpl.rc_context(_STYLE):
        taken: set[str] = set()
        for name, figure in _figures(contents):
            # Names that differ only in signs a file name cannot have are told apart by a number.
            free = next(one for one in (name, *(f"{name}_{at}" for at in range(2, 1000))) if one.lower() not in taken)
            taken.add(free.lower())
            written += _save(figure, folder / free)
    for name, header, rows in _tables(contents):
        with replacing(folder / f"{name}.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([_plain(one) for one in header])
            writer.writerows([_plain(one) for one in row] for row in rows)
        written.append(folder / f"{name}.csv")
    return written


def plate_map(contents: Contents, column: int) -> Figure:
    """One column over every plate, twelve at most, on one colour scale (2nd to 98th percentile of the wells)."""
    wells, told = contents.wells, contents.wells.told["columns"][column]
    values = wells.table[column]
    known = values[np.isfinite(values)]
    low, high = (
        np.percentile(known, [2, 98]) if len(known) > 20 else (known.min(), known.max()) if len(known) else (0, 1)
    )
    plates = list(dict.fromkeys(plate for plate, _ in wells.keys))[:_MOST_PLATES]
    across = min(len(plates), 3)
    down = -(-len(plates) // across)
    figure = Figure(figsize=(5.2 * across, 3.9 * down), layout="constrained")
    image = None
    for at, plate in enumerate(plates):
        places = [place for place, key in enumerate(wells.keys) if key[0] == plate]
        made = layout([wells.keys[place][1] for place in places])
        grid = np.full((made.rows, made.columns), np.nan)
        for place in places:
            grid[made.places[wells.keys[place][1]]] = values[place]
        axes = figure.add_subplot(down, across, at + 1)
        axes.set_facecolor("#eeeeee")
        image = axes.imshow(grid, cmap="cividis", vmin=low, vmax=high, aspect="equal")
        axes.set_title(plate or "(no plate)")
        step = 1 if made.columns <= 24 else 2
        axes.set_xticks(range(0, made.columns, step), list(made.column_labels)[::step] or None)
        axes.set_yticks(range(made.rows), list(made.row_labels) or None)
        axes.tick_params(length=0)
    unit = f" ({told['u']})" if told["u"] not in {"", "1"} else ""
    if image is not None:
        figure.colorbar(image, ax=figure.axes, label=f"{told['n']}{unit}", shrink=0.8)
    return figure


def cell_map(contents: Contents) -> Figure | None:
    """The map of cells, coloured by the design's group; None where there is none."""
    made, found = contents.embedding, contents.survey
    if made is None:
        return None
    figure = Figure(figsize=(6.4, 5), layout="constrained")
    axes = figure.add_subplot()
    names = found.groups.get(found.design.group)
    if names is None:
        axes.scatter(made.points[:, 0], made.points[:, 1], s=6, color=_ACCENT, linewidths=0)
    else:
        _scatter(axes, made.points, np.array([names[well] for well in found.shown.wells], object))
        axes.legend(
            title=found.design.group, fontsize=8, markerscale=1.6, loc="center left", bbox_to_anchor=(1, 0.5),
            frameon=False,
        )  # fmt: skip
    axes.set(xlabel=made.axes[0], ylabel=made.axes[1], title=f"{len(made.points):,} of {found.rows:,} cells")
    return figure


def _scatter(axes: Any, points: NDArray[Any], of_cell: NDArray[Any]) -> None:
    """Cells in the colour of their group: along one scale where groups are numbers; 24 groups at most."""
    distinct = sorted(set(of_cell), key=lambda one: (not _is_number(one), float(one) if _is_number(one) else 0, one))
    numeric = len(distinct) > 2 and all(_is_number(one) for one in distinct if one)
    for at, name in enumerate(distinct[:24]):
        colour = mpl.colormaps["cividis"](at / max(len(distinct) - 1, 1)) if numeric else GROUPS[at % len(GROUPS)]
        shape = "o" if numeric else _SHAPES[(at + at // len(GROUPS)) % len(_SHAPES)]
        x, y = points[of_cell == name].T[:2]
        axes.scatter(x, y, s=9, color=colour, marker=shape, linewidths=0, label=name or "none")


def effect_chart(group: Group, column: str) -> Figure:
    """The largest effects of one group as bars."""
    figure = Figure(figsize=(6.4, 0.6 + 0.26 * max(len(group.effects), 3)), layout="constrained")
    axes = figure.add_subplot()
    sizes = [one.size for one in group.effects]
    axes.barh(range(len(sizes)), sizes, color=[_ACCENT if one > 0 else _DOWN for one in sizes])
    axes.set_yticks(range(len(sizes)), [one.column.name for one in group.effects], fontsize=8)
    axes.invert_yaxis()
    axes.axvline(0, color="black", lw=0.8)
    axes.set(
        xlabel="effect size (robust standard deviations of the controls)",
        title=f"{column} {group.name}: {group.cells:,} cells",
    )
    return figure  # fmt: skip


def _figures(contents: Contents) -> Iterator[tuple[str, Figure]]:
    for place in _mapped(contents):
        yield f"plate_{_slug(contents.wells.names[place])}", plate_map(contents, place)
    cells = cell_map(contents)
    if cells is not None:
        yield "cells", cells
    if contents.effects:
        for group in contents.effects.groups[:_MOST_MAPS]:
            if group.effects:
                yield f"effects_{_slug(group.name)}", effect_chart(group, contents.survey.design.group)
    if contents.phenotypes:
        yield from phenotype_figures.figures(contents.phenotypes)


def _mapped(contents: Contents) -> list[int]:
    """Columns whose maps are drawn: counts and quality first, then those of the largest effects."""
    names = list(contents.wells.names)
    if not contents.wells.keys:
        return []
    told = contents.wells.told["columns"]
    shown = [
        at for at, one in enumerate(told) if one["r"] == "count" or one.get("s", "").startswith(("mean_", "focus_"))
    ]
    for group in contents.effects.groups if contents.effects else ():
        shown += [names.index(one.column.name) for one in group.effects[:2] if one.column.name in names]
    shown += [at for at, one in enumerate(told) if one["r"] == "feature"][:2]
    return list(dict.fromkeys(shown))[:_MOST_MAPS]


def _tables(contents: Contents) -> Iterator[_Table]:
    """The tables beside the figures; those of which there is nothing are left out."""
    yield _wells(contents.wells)
    told = columns_of(contents.rows.schema())
    header = ["Column", "Role", "Compartment", "Family", "Channel", "Unit", "Positional"]
    yield "columns", header, ([c.name, c.role, c.compartment, c.family, c.channel, c.unit, c.positional] for c in told)
    if contents.embedding:
        yield _cells(contents.embedding, contents.survey.shown.metadata)
    if contents.effects:
        header = ["Group", "Cells", "Feature", "EffectSize", "AUC", "Median", "ControlMedian", "WellsAgree", "Wells"]
        yield "effects", header, _effect_rows(contents.effects)
    if contents.facts:
        names = ("plate", "well", "site", "frame", "state", "step", "reason", "message", "remedy", "id")
        rejects = ([getattr(one, name) for name in names] for one in contents.facts.rejects)
        yield "rejects", [name.capitalize() for name in names], rejects
    if contents.phenotypes:
        yield from phenotype_figures.tables(contents.phenotypes)


def _wells(wells: Wells) -> _Table:
    groups = wells.told["groups"] if wells.keys else {}

    def row(at: int, key: tuple[str, str]) -> list[Any]:
        of_groups = [told["values"][told["of"][at]] for told in groups.values()]
        return [*key, *of_groups, *(_cell(value) for value in wells.table[:, at])]

    return "wells", ["Plate", "Well", *groups, *wells.names], (row(at, key) for at, key in enumerate(wells.keys))


def _cells(made: Embedding, metadata: pa.Table) -> _Table:
    rows = zip(metadata.to_pylist(), made.points, strict=True)
    told = ([*row.values(), *map(float, point)] for row, point in rows)
    return "cells", [*metadata.column_names, *made.axes], told


def _effect_rows(told: Effects) -> Iterator[list[Any]]:
    for group in told.groups:
        for one in group.effects:
            numbers = (one.size, one.auc, one.median, one.control_median, one.agree, one.wells)
            yield [group.name, group.cells, one.column.name, *numbers]


def _save(figure: Figure, stem: Path) -> list[Path]:
    FigureCanvasAgg(figure)
    paths = []
    for kind, told in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": "phenostream"})):
        path = stem.with_name(f"{stem.name}.{kind}")
        with replacing(path) as temporary:
            figure.savefig(temporary, format=kind, metadata=told)
        paths.append(path)
    return paths


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.+-]+", "_", name).strip("_")[:80] or "none"


def _plain(value: Any) -> Any:
    # A cell that begins like a formula must not become one in a spreadsheet.
    return f"'{value}" if isinstance(value, str) and re.match(r"[=+@\t\r]|-(?![\d.])", value) else value


def _cell(value: float) -> float | str:
    return float(value) if np.isfinite(value) else ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
