"""Figures and tables of phenotype results: F1, confusion, precision and recall, rank of the true class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from phenostream.report import scores
from phenostream.report.colours import GROUPS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from phenostream.report.phenotypes import Phenotypes

_RANKS = {"rank 1": "#00224e", "rank 2": "#575d6d", "rank 3": "#a59c74", "4 and more": "#fee838"}


def figures(results: Phenotypes) -> Iterator[tuple[str, Figure]]:
    """Every figure with its name: those that the page shows."""
    header, rows = scores.by_class(results)
    if header:
        yield "phenotypes_f1", _bars(header, rows)
    for number, one in enumerate(scores.confusions(results), 1):
        yield f"phenotypes_confusion_{number}", _confusion(one, results.classes)
    for number, one in enumerate(scores.curves(results), 1):
        yield f"phenotypes_precision_recall_{number}", _curves(one)
    for number, one in enumerate(scores.ranks(results), 1):
        yield f"phenotypes_ranks_{number}", _ranks(one)


def tables(results: Phenotypes) -> Iterator[tuple[str, Sequence[str], Iterable[Sequence[Any]]]]:
    """Name, header and rows of every table: the numbers behind the figures."""
    classes, rows = scores.by_class(results)
    yield "phenotypes_f1", ["Class", *classes], ([name, *(bar.value for bar in marks)] for name, marks in rows)
    yield "phenotypes_scores", list(scores.Score._fields), scores.scores(results)
    for number, one in enumerate(scores.confusions(results), 1):
        counts = ([row["name"], *(cell["count"] for cell in row["cells"])] for row in one["rows"])
        yield f"phenotypes_confusion_{number}", [one["title"], *results.classes], counts
    for number, one in enumerate(scores.curves(results), 1):
        points = (
            [curve["name"], recall, precision]
            for curve in one["curves"]
            for recall, precision in zip(curve["recall"], curve["precision"], strict=True)
        )
        yield f"phenotypes_precision_recall_{number}", [one["name"], "Recall", "Precision"], points
    for number, one in enumerate(scores.ranks(results), 1):
        shares = ([row["name"], *row["shares"]] for row in one["rows"])
        yield f"phenotypes_ranks_{number}", [one["title"], *_RANKS], shares


def _curves(one: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    axes = figure.add_subplot()
    for at, curve in enumerate(one["curves"]):
        axes.plot(curve["recall"], curve["precision"], label=curve["name"], color=GROUPS[at % len(GROUPS)],
                  linestyle=("-", "--", ":")[at // len(GROUPS) % 3])  # fmt: skip
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.02), title=one["name"])
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


def _ranks(one: dict[str, Any]) -> Figure:
    names = [row["name"] for row in one["rows"]]
    shares = 100 * np.array([row["shares"] for row in one["rows"]])
    figure = Figure(figsize=(6.4, 1.2 + 0.24 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    before = np.zeros(len(names))
    for (label, colour), share in zip(_RANKS.items(), shares.T, strict=True):
        axes.barh(range(len(names)), share, left=before, label=label, color=colour)
        before = before + share
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set(xlabel="% of the cells of a class", xlim=(0, 100), title=one["title"])
    axes.legend(fontsize=7, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.14), frameon=False)
    return figure


def _bars(header: Sequence[str], rows: Sequence[tuple[str, Sequence[scores.Bar]]]) -> Figure:
    figure = Figure(figsize=(6.4, 0.8 + len(rows) * (0.12 + 0.14 * len(header))), layout="constrained")
    axes = figure.add_subplot()
    thick = 0.8 / len(header)
    for at, name in enumerate(header):
        values = [marks[at].value or 0.0 for _, marks in rows]
        again, colour = divmod(at, len(GROUPS))  # hatched where all colours are taken
        axes.barh(np.arange(len(rows)) + at * thick, values, thick, label=name, color=GROUPS[colour],
                  hatch="////" if again else None, edgecolor="white", linewidth=0)  # fmt: skip
    axes.set_yticks(np.arange(len(rows)) + 0.4 - thick / 2, [name for name, _ in rows])
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set(xlabel="F1", xlim=(0, 1))
    figure.legend(fontsize=7, loc="outside lower center", frameon=False)
    return figure


def _confusion(one: dict[str, Any], classes: Sequence[str]) -> Figure:
    counts = np.array([[cell["count"] for cell in row["cells"]] for row in one["rows"]], float)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    side = 2.2 + 0.34 * len(classes)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(100 * shares, cmap="cividis_r", vmin=0, vmax=100)
    for row, column in zip(*np.nonzero(shares >= 0.005), strict=True):
        ink = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, f"{100 * shares[row, column]:.0f}", ha="center", va="center", fontsize=6, color=ink)
    axes.set_xticks(range(len(classes)), classes, rotation=90, fontsize=7)
    axes.set_yticks(range(len(classes)), classes, fontsize=7)
    axes.set(xlabel="predicted class", ylabel="true class", title=one["title"])
    figure.colorbar(image, ax=axes, label="% of the true class", shrink=0.7)
    return figure
