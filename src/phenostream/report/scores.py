"""Phenotype results as tables: scores by model and split, F1 by class, confusion, ranks, curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from phenostream.report.phenotypes import Model, Phenotypes, Split

_CONFUSIONS = 4
_COLUMNS = 12
_CURVE_POINTS = 250
_DASH = "\u2013"


class Score(NamedTuple):
    """One line of the table of scores."""

    model: str
    split: str
    weighted: str
    macro: str
    accuracy: str
    cells: str
    folds: str
    baselines: str


class Bar(NamedTuple):
    """F1 of one class under one model and split."""

    value: float | None
    cells: int | None


def scores(results: Phenotypes) -> list[Score]:
    """Every model and split in one line."""
    made = []
    for model, split in _all(results):
        knowing = "; ".join(f"{name} {_share(value)}" for name, value in sorted(split.baselines.items()))
        numbers = (_share(split.weighted_f1), _share(split.macro_f1), _share(split.accuracy))
        counts = (_count(split.cells), _count(split.folds))
        made.append(
            Score(
                f"{model.name} ({model.note})" if model.note else model.name,
                split.name,
                *numbers,
                *counts,
                knowing or _DASH,
            )
        )
    return made  # fmt: skip


def by_class(results: Phenotypes) -> tuple[list[str], list[tuple[str, list[Bar]]]]:
    """Headers, and F1 of each class under the first twelve models and splits that tell it."""
    told = [(model, split) for model, split in _all(results) if split.per_class][:_COLUMNS]
    rows = []
    for name in results.classes:
        known = [next((one for one in split.per_class if one.name == name), None) for _, split in told]
        rows.append((name, [Bar(one.f1 if one else None, one.cells if one else None) for one in known]))
    return [title(model, split) for model, split in told], rows


def confusions(results: Phenotypes) -> list[dict[str, Any]]:
    """The first four confusion matrices, each row as shares of its true class."""
    made = []
    for model, split in [(m, s) for m, s in _all(results) if s.confusion][:_CONFUSIONS]:
        rows = [_row(results.classes, place, counts) for place, counts in enumerate(split.confusion)]
        made.append({"title": title(model, split), "rows": rows})
    return made


def ranks(results: Phenotypes) -> list[dict[str, Any]]:
    """The first four tables of ranks: shares of rank 1, 2, 3 and beyond."""
    made = []
    for model, split in [(m, s) for m, s in _all(results) if s.ranks][:_CONFUSIONS]:
        rows = []
        for name, counts in zip(results.classes, split.ranks, strict=True):
            total = sum(counts) or 1
            first = [*counts[:3], *([0] * (3 - len(counts[:3])))]
            shares = [one / total for one in (*first, sum(counts[3:]))]
            words = ", ".join(
                f"rank {label} {100 * share:.0f} %"
                for label, share in zip(("1", "2", "3", "4 and more"), shares, strict=True)
            )
            rows.append({"name": name, "shares": shares, "words": words})  # fmt: skip
        made.append({"title": title(model, split), "rows": rows})
    return made


def curves(results: Phenotypes) -> list[dict[str, Any]]:
    """Precision-recall curves for the page, at most 250 points each."""
    made = []
    for model, split in [(m, s) for m, s in _all(results) if s.precision_recall][:_CONFUSIONS]:
        known = {one.name: one.average_precision for one in split.per_class}
        drawn = [
            {
                "name": one.name,
                "ap": known.get(one.name),
                "recall": _thin(one.recall),
                "precision": _thin(one.precision),
            }
            for one in split.precision_recall
        ]
        made.append({"name": title(model, split), "curves": drawn})
    return made


def title(model: Model, split: Split) -> str:
    """A model and a split in words."""
    return f"{model.name}, {split.name}"


def _all(results: Phenotypes) -> Iterator[tuple[Model, Split]]:
    for model in results.models:
        for split in model.splits:
            yield model, split


def _row(classes: Sequence[str], place: int, counts: Sequence[int]) -> dict[str, Any]:
    total = sum(counts)
    cells = []
    for at, count in enumerate(counts):
        share = count / total if total else 0.0
        cells.append(
            {
                "name": classes[at], "count": count, "right": at == place,
                "share": round(share, 3),
                "text": f"{100 * share:.0f}" if share >= 0.005 else "",
            }
        )  # fmt: skip
    return {"name": classes[place], "cells": cells, "total": total}


def _thin(values: Sequence[float]) -> list[float]:
    places: Any = (
        np.unique(np.linspace(0, len(values) - 1, min(len(values), _CURVE_POINTS)).round().astype(int))
        if values
        else []
    )
    return [round(values[int(at)], 4) for at in places]


def _share(value: float | None) -> str:
    return _DASH if value is None else f"{value:.3f}"


def _count(value: int | None) -> str:
    return _DASH if value is None else f"{value:,}"
