"""Train a classifier of phenotypes, and call the cells of tables of any size."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from phenostream.errors import RecipeError
from phenostream.profiles.phenotypes.calibrating import fit_temperature, log_loss, probabilities
from phenostream.profiles.phenotypes.registry import model, model_settings
from phenostream.profiles.phenotypes.splitting import inner_folds
from phenostream.profiles.statistics import matrix
from phenostream.profiles.tables import Mapped, open_table, require
from phenostream.values import Column, columns_of, with_columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from pydantic import BaseModel

    from phenostream.profiles.phenotypes.labels import Labelled
    from phenostream.profiles.tables import Source

    Floats = NDArray[np.float64]

CALL, SURE, MISSING = "Phenotype", "Phenotype_Probability", "Phenotype_FeaturesMissing"
#: Share of a cell's features that may be missing; beyond, it is not called.
MOST_MISSING = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Selected:
    """What held-out cells inside a training set decided.

    Attributes:
        place: of the best candidate.
        temperature: of its probabilities.
        candidates: every candidate with its mean log loss on held-out cells.
        by: what training and held-out cells did not share.
    """

    place: int
    temperature: float
    candidates: tuple[dict[str, Any], ...]
    by: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """A trained model: arrays and names.

    Attributes:
        model: name of the model.
        settings: its settings.
        classes: names, in the order of the probabilities' columns.
        features: columns it needs, in order.
        arrays: its numbers.
        temperature: decision values are divided by it.
        provenance: cells, groups, candidates, versions.
    """

    model: str
    settings: BaseModel
    classes: tuple[str, ...]
    features: tuple[str, ...]
    arrays: Mapping[str, Floats]
    temperature: float
    provenance: dict[str, Any] = field(default_factory=dict)

    def probabilities(self, values: Floats) -> Floats:
        """(n, classes) of cells (n, features), NaN is missing; calibrated, rows sum to one."""
        return probabilities(model(self.model).decide(np.asarray(values, np.float64), self.arrays), self.temperature)

    def apply(self, where: Source | pa.Table | str | Path, *, each: bool = True) -> Mapped:
        """Call every cell of a table; rows are computed piece by piece when they are read.

        Args:
            where: a table in memory, a Parquet file or folder, a run folder.
            each: a column with the probability of every class, too.

        Returns:
            A source: the metadata of the cells, ``Phenotype``, ``Phenotype_Probability``, ``Phenotype_FeaturesMissing``
            (share of features without number) and ``Phenotype_Probability_<class>``. A cell of which more than half of
            the features are missing is not called: null.

        Raises:
            NotFoundError: a column that the classifier needs is missing.
        """
        source = open_table(where)
        require(source.schema(), self.features)
        kept = [column for column in columns_of(source.schema()) if column.role == "metadata"]
        made = [Column(CALL, "metadata"), Column(SURE, "qc", unit="1"), Column(MISSING, "qc", unit="1")]
        made += [Column(f"{SURE}_{name}", "qc", unit="1") for name in self.classes if each]
        told = with_columns(_empty(source.schema(), kept, made), [*kept, *made]).schema
        own = {column.name for column in made}

        def needs(names: Sequence[str]) -> Sequence[str]:
            plain = [name for name in names if name not in own]
            return list(dict.fromkeys([*plain, *(self.features if len(plain) < len(names) else ())]))

        def change(table: pa.Table, names: Sequence[str]) -> pa.Table:
            called = self._called(table) if own & set(names) else {}
            arrays = [called[name] if name in own else table.column(name) for name in names]
            return pa.table(arrays, schema=pa.schema([told.field(name) for name in names]))

        return Mapped(source, told, change, needs)

    def _called(self, table: pa.Table) -> dict[str, Any]:
        values = matrix(table, self.features)
        missing = np.isnan(values).mean(axis=1) if len(values) else np.zeros(0)
        chances = self.probabilities(values) if len(values) else np.zeros((0, len(self.classes)))
        silent = missing > MOST_MISSING
        best = chances.argmax(axis=1) if len(values) else np.zeros(0, np.intp)
        columns = {
            CALL: pa.array(np.asarray(self.classes, dtype=object)[best], pa.string(), mask=silent),
            SURE: pa.array(chances.max(axis=1, initial=0).astype(np.float32), mask=silent),
            MISSING: pa.array(missing.astype(np.float32)),
        }
        for place, name in enumerate(self.classes):
            columns[f"{SURE}_{name}"] = pa.array(chances[:, place].astype(np.float32), mask=silent)
        return columns


def train(
    cells: Labelled,
    name: str = "discriminant",
    settings: Mapping[str, Any] | BaseModel | None = None,
    *,
    by: str = "image",
    folds: int = 3,
    seed: int = 0,
    selected: Selected | None = None,
) -> Classifier:
    """Choose among a model's candidates on held-out cells of the training set, calibrate, and fit on all of them.

    Args:
        cells: the training set; nothing else is looked at.
        name: of the model: ``discriminant``, ``elastic_net``, or one that a plug-in brings.
        settings: of the model.
        by: what cells share that must not be on both sides while candidates are compared.
        folds: of that comparison.
        seed: of the dealing.
        selected: choice and temperature made elsewhere on cells of this training set, instead.

    Raises:
        RecipeError: an unknown model or setting, or a class without a cell.
    """
    if missing := [one for place, one in enumerate(cells.classes) if not (cells.label == place).any()]:
        raise RecipeError(
            f"no training cell of class {missing[0]!r}", remedy="leave the class out, or label cells of it"
        )
    chosen = model_settings(name, settings)
    best = selected or select(cells, name, chosen, by=by, folds=folds, seed=seed)
    arrays = model(name).path(cells.values, cells.label, len(cells.classes), chosen, [best.place])[0]
    counts = np.bincount(cells.label, minlength=len(cells.classes))
    provenance = {
        "cells": dict(zip(cells.classes, counts.tolist(), strict=True)),
        "groups": {one: len(np.unique(codes)) for one, codes in cells.groups.items()},
        "selected": best.candidates[best.place],
        "candidates": list(best.candidates),
        "selection": {"by": best.by, "folds": folds, "seed": seed},
    }
    return Classifier(name, chosen, cells.classes, cells.features, arrays, best.temperature, provenance)


def select(cells: Labelled, name: str, settings: Any, *, by: str = "image", folds: int = 3, seed: int = 0) -> Selected:
    """The candidate with the least log loss on held-out cells, each at its own best temperature.

    Where no class has cells in two groups, cells are held out one by one, and the result says so. Arguments as
    :func:`train`.
    """
    module, size = model(name), len(cells.classes)
    told = module.candidates(settings)
    held = np.full((len(told), len(cells), size), -np.inf)
    seen = np.zeros(len(cells), bool)
    for fold in inner_folds(cells, by, folds, seed):
        fitted = module.path(cells.values[fold.train], cells.label[fold.train], size, settings)
        for place, arrays in enumerate(fitted):
            held[place, fold.test] = module.decide(cells.values[fold.test], arrays)
        # A class with no cell in this fold's training set cannot be called there: such cells say nothing.
        known = np.isin(cells.label[fold.test], cells.label[fold.train])
        seen[fold.test[known]] = True
    if not seen.any():
        if by == "cell":
            raise RecipeError("no class has two cells to choose by", remedy="label more cells")
        return select(cells, name, settings, by="cell", folds=folds, seed=seed)
    losses = []
    for decisions in held:
        temperature = fit_temperature(decisions[seen], cells.label[seen])
        losses.append((log_loss(decisions[seen], cells.label[seen], temperature), temperature))
    best = int(np.argmin([loss for loss, _ in losses]))
    words = tuple({**one, "log_loss": loss} for one, (loss, _) in zip(told, losses, strict=True))
    return Selected(best, losses[best][1], words, by)


def _empty(schema: pa.Schema, kept: Sequence[Column], made: Sequence[Column]) -> pa.Table:
    kinds = {CALL: pa.string()}
    fields = [schema.field(column.name) for column in kept]
    fields += [pa.field(column.name, kinds.get(column.name, pa.float32())) for column in made]
    return pa.schema(fields).empty_table()
