"""The course of a fit as one picture, from its CSV files."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from phenostream.training.durable import replace

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

_UNDRAWN = frozenset({"step", "epoch"})
_SMOOTHED = 50


def draw(folder: Path, target: Path) -> None:
    """Draw every column of ``steps.csv`` and ``validations.csv`` in `folder` over the steps into a PNG."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    told = [*_columns(folder / "steps.csv", "training"), *_columns(folder / "validations.csv", "validation")]
    across = 3
    down = -(-len(told) // across)
    figure = Figure(figsize=(4 * across, 2.6 * down), layout="constrained")
    for number, (title, steps, values) in enumerate(told):
        axes = figure.add_subplot(down, across, number + 1)
        _panel(axes, steps, values, marked=title.startswith("validation"))
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("step", fontsize=8)
        axes.tick_params(labelsize=7)
    replace(target, lambda temporary: figure.savefig(temporary, format="png", dpi=110))


def _panel(axes: Axes, steps: list[float], values: list[float], *, marked: bool) -> None:
    axes.plot(steps, values, "o-" if marked else "-", color="0.6" if not marked else "C0", linewidth=0.8, markersize=3)
    if not marked and len(values) >= 2 * _SMOOTHED:
        axes.plot(steps[_SMOOTHED - 1 :], _running(values), color="C0", linewidth=1.2)


def _running(values: list[float]) -> list[float]:
    return [sum(values[end - _SMOOTHED : end]) / _SMOOTHED for end in range(_SMOOTHED, len(values) + 1)]


def _columns(path: Path, group: str) -> list[tuple[str, list[float], list[float]]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        return []
    steps = [float(row["step"]) for row in rows]
    names = [name for name in rows[0] if name not in _UNDRAWN]
    return [(f"{group}: {name}", steps, [float(row[name] or "nan") for row in rows]) for name in names]
