"""How well a classifier of phenotypes does on cells, images, wells and plates that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from phenostream.benchmark.metrics.calibration_error import calibration_error
from phenostream.benchmark.metrics.confusion import confusion
from phenostream.benchmark.metrics.f1 import F1Scores, from_confusion
from phenostream.benchmark.metrics.precision_recall import precision_recall
from phenostream.benchmark.metrics.true_class_rank import rank_counts, true_class_rank
from phenostream.benchmark.statistics import bootstrap, exchanged_blocks, permutation_p_value
from phenostream.profiles.phenotypes.classifier import Selected, select, train
from phenostream.profiles.phenotypes.registry import model_settings
from phenostream.profiles.phenotypes.splitting import Fold, deal, group_of, leaves_one_out, splits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray
    from pydantic import BaseModel

    from phenostream.profiles.phenotypes.labels import Labelled

    Floats = NDArray[np.float64]

Baseline = Literal["shuffled labels", "shuffled features", "most frequent class"]
BASELINES: tuple[Baseline, ...] = ("shuffled labels", "shuffled features", "most frequent class")
_PARTS = 7


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Probabilities of every cell, made by a model that was trained without it.

    Attributes:
        cells: the cells, with truth and groups.
        probabilities: (n, classes).
        by: how they were split.
        folds: how many training sets.
        selected: for every training set what its own held-out cells decided: candidate and log loss.
        unseen: cells whose class had no cell in their training set: wrong whatever is called.
    """

    cells: Labelled
    probabilities: Floats
    by: str
    folds: int
    selected: tuple[dict[str, Any], ...] = ()
    unseen: int = 0

    @property
    def called(self) -> NDArray[Any]:
        """(n,) class of the largest probability."""
        return np.asarray(np.asarray(self.cells.classes)[self.probabilities.argmax(axis=1)])

    def grouping(self) -> NDArray[Any]:
        """(n,) what cells of one fold share: what intervals are drawn over."""
        return np.asarray(self.cells.groups.get(group_of(self.by), self.cells.ids))


def cross_validate(
    cells: Labelled,
    model: str = "discriminant",
    settings: Mapping[str, Any] | BaseModel | None = None,
    *,
    by: str = "leave-one-image-out",
    folds: int = 7,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Predictions:
    """Call every cell with a model that saw neither it nor what it shares a group with.

    Candidates and temperature are chosen inside each training set, on folds by the same group. Where one group is left
    out at a time, they are chosen once for a seventh of the groups, on training cells that hold none of that seventh.

    Args:
        cells: labelled cells.
        model: its name.
        settings: of the model.
        by: as in :func:`phenostream.profiles.phenotypes.splitting.splits`.
        folds: as there.
        seed: of the dealing.
        progress: called with folds done and folds in all.

    Raises:
        RecipeError: as :func:`~phenostream.profiles.phenotypes.splitting.splits`.
    """
    chosen = model_settings(model, settings)
    made = splits(cells, by, folds=folds, seed=seed)
    parts = _parts(cells, group_of(by), seed) if leaves_one_out(by) else None

    @cache
    def best(part: int) -> Selected | None:
        if parts is None:
            return None
        return select(_without_empty(cells.rows(np.flatnonzero(parts != part))), model, chosen, by=by, seed=seed)

    chances, unseen = np.zeros((len(cells), len(cells.classes))), 0
    told: dict[int, dict[str, Any]] = {}
    for number, fold in enumerate(made):
        part = number if parts is None else int(parts[fold.test[0]])
        inside = _without_empty(cells.rows(fold.train))
        classifier = train(inside, model, chosen, by=by, seed=seed, selected=best(part))
        columns = [cells.classes.index(name) for name in classifier.classes]
        chances[fold.test[:, None], columns] = classifier.probabilities(cells.values[fold.test])
        unseen += int((~np.isin(cells.truth[fold.test], classifier.classes)).sum())
        told.setdefault(part, classifier.provenance["selected"])
        if progress:
            progress(number + 1, len(made))
    return Predictions(cells, chances, by, len(made), tuple(told.values()), unseen)


def evaluate(
    predictions: Predictions, *, draws: int = 1000, permutations: int = 1000, points: int = 60, seed: int = 0
) -> dict[str, Any]:
    """Everything about one split, as plain JSON values in the form of the report's ``phenotypes.json``, and more.

    Args:
        predictions: of :func:`cross_validate`.
        draws: bootstrap samples of groups behind the interval of the weighted F1; 0 for none.
        permutations: behind the p-value of the weighted F1; 0 for none. What the cells of one group (image, well,
            plate) were called goes as a whole to another group
            (:func:`~phenostream.benchmark.statistics.exchanged_blocks`): cells that share labels and calls are no
            independent witnesses. The truth keeps its place, and so every class its number of cells.
        points: of each precision-recall curve.
        seed: of the draws.

    Returns:
        ``split`` (what the report takes) and ``more``: interval, p-value, calibration error, mean ranks, choices.
    """
    cells, classes = predictions.cells, predictions.cells.classes
    truth, called = cells.truth, predictions.called
    counts = confusion(truth, called, classes)
    scores = from_confusion(counts)
    ranks = true_class_rank(truth, predictions.probabilities, classes)
    curves = [
        precision_recall(truth == name, predictions.probabilities[:, place]) for place, name in enumerate(classes)
    ]
    split = {
        "name": predictions.by,
        "folds": predictions.folds,
        "cells": len(cells),
        "weighted_f1": scores.weighted,
        "macro_f1": scores.macro,
        "accuracy": scores.accuracy,
        "per_class": _per_class(classes, scores, [curve.average_precision for curve in curves]),
        "confusion": counts.tolist(),
        "precision_recall": [
            {"name": name, "recall": recall.tolist(), "precision": precision.tolist()}
            for name, (recall, precision) in zip(classes, (curve.thinned(points) for curve in curves), strict=True)
        ],
        "ranks": rank_counts(ranks, truth, classes).tolist(),
    }
    more = {
        "mean_rank": {name: float(ranks[truth == name].mean()) for name in classes},
        "calibration_error": calibration_error(truth, predictions.probabilities, classes),
        "unseen": predictions.unseen,
        "selected": list(predictions.selected),
        **_doubts(predictions, scores.weighted, draws, permutations, seed),
    }
    return {"split": split, "more": more}


def baselines(
    cells: Labelled,
    model: str = "discriminant",
    settings: Mapping[str, Any] | BaseModel | None = None,
    *,
    by: str = "image",
    folds: int = 7,
    seed: int = 0,
    wanted: Sequence[Baseline] = BASELINES,
) -> dict[str, float]:
    """Weighted F1 of what knows nothing, under the same split.

    ``shuffled labels``: training labels permuted. ``shuffled features``: every feature permuted over all cells on its
    own, as published. ``most frequent class``: of the training set. One group left out at a time is judged on seven
    folds of groups here.
    """
    rng = np.random.default_rng(seed)
    made = splits(cells, group_of(by), folds=folds, seed=seed)
    found: dict[str, float] = {}
    for name in wanted:
        changed = cells
        if name == "shuffled features":
            changed = replace(cells, values=rng.permuted(cells.values, axis=0))
        called = np.concatenate([_blind(changed, fold, name, model, settings, rng) for fold in made])
        order = np.concatenate([fold.test for fold in made])
        found[name] = from_confusion(confusion(cells.truth[order], called, cells.classes)).weighted
    return found


def _blind(
    cells: Labelled,
    fold: Fold,
    name: str,
    model: str,
    settings: Mapping[str, Any] | BaseModel | None,
    rng: np.random.Generator,
) -> NDArray[Any]:
    inside = cells.rows(fold.train)
    if name == "most frequent class":
        return np.repeat(np.asarray(cells.classes)[np.bincount(inside.label).argmax()], len(fold.test))
    if name == "shuffled labels":
        inside = replace(inside, label=rng.permutation(inside.label))
    classifier = train(_without_empty(inside), model, settings, selected=Selected(0, 1.0, ({},)))
    called = classifier.probabilities(cells.values[fold.test]).argmax(axis=1)
    return np.asarray(np.asarray(classifier.classes)[called])


def _parts(cells: Labelled, name: str, seed: int) -> NDArray[np.intp]:
    """(n,) seventh of the groups that each cell belongs to; dealt without a look at the labels."""
    codes = np.unique(cells.groups[name], return_inverse=True)[1].ravel()
    return deal(np.zeros(len(cells), np.intp), codes, min(_PARTS, int(codes.max()) + 1), seed)


def _without_empty(cells: Labelled) -> Labelled:
    there = np.unique(cells.label)
    if len(there) == len(cells.classes):
        return cells
    classes = tuple(cells.classes[place] for place in there)
    return replace(cells, classes=classes, label=np.searchsorted(there, cells.label))


def _per_class(classes: Sequence[str], scores: F1Scores, average: Sequence[float]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "cells": int(scores.cells[place]),
            "f1": float(scores.f1[place]),
            "precision": float(scores.precision[place]),
            "recall": float(scores.recall[place]),
            "average_precision": None if np.isnan(average[place]) else float(average[place]),
        }
        for place, name in enumerate(classes)
    ]


def _doubts(predictions: Predictions, observed: float, draws: int, permutations: int, seed: int) -> dict[str, Any]:
    size = len(predictions.cells.classes)
    truth, called = predictions.cells.label, predictions.probabilities.argmax(axis=1)
    flat = truth * size + called

    told: dict[str, Any] = {}
    if draws:
        found = bootstrap(lambda rows: _weighted(flat[rows], size), predictions.grouping(), draws=draws, rng=seed)
        told["interval"] = {"low": found.low, "high": found.high, "groups": found.groups, "level": 0.95}
    if permutations:
        exchanged = exchanged_blocks(predictions.grouping(), permutations, rng=seed)
        null = [_weighted(truth * size + called[rows], size) for rows in exchanged]
        told["p_value"] = float(permutation_p_value(observed, null))
    return told


def _weighted(flat: NDArray[np.intp], size: int) -> float:
    """Weighted F1 of pairs ``truth * size + called``."""
    return from_confusion(np.bincount(flat, minlength=size * size).reshape(size, size)).weighted
