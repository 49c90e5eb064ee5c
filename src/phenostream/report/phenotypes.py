"""Results of a phenotype classifier as the report shows them: one JSON file, ``phenotypes.json``.

Whatever trains a classifier writes this file; ``phenostream report RUN --phenotypes phenotypes.json`` draws it.
Plain JSON, no NaN, UTF-8. Only ``format``, ``version``, ``classes`` and one model with one split are needed::

    {"format": "phenostream.phenotypes", "version": 1,
     "title": "MitoCheck, 15 phenotypes",
     "classes": ["Anaphase", "Interphase"],              # order of every matrix and list below
     "models": [{
       "name": "elastic-net logistic regression", "note": "as published",
       "splits": [{
         "name": "leave one image out", "folds": 270, "cells": 2413,
         "weighted_f1": 0.78, "macro_f1": 0.71, "accuracy": 0.79,
         "baselines": {"shuffled labels": 0.09},         # weighted F1 of what knows nothing
         "per_class": [{"name": "Anaphase", "cells": 160, "f1": 0.9, "precision": 0.9, "recall": 0.9,
                        "average_precision": 0.95}],
         "confusion": [[150, 10], [7, 300]],             # rows: true class, columns: predicted, cells
         "precision_recall": [{"name": "Anaphase", "recall": [0, 0.5, 1], "precision": [1, 0.9, 0.3]}],
         "ranks": [[150, 10], [300, 7]]}]}],             # ranks[c][k]: cells of class c whose true class had rank k+1
     "excluded": [{"name": "Folded", "cells": 44, "reason": "left out, as published"}],
     "provenance": {"table": "cells.parquet", "sha256": "..."}}

Several models, or a published reference with ``per_class`` alone, stand side by side on the page.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from phenostream.errors import DamagedError, NotFoundError, TooLargeError
from phenostream.values import recipes

_MAX_BYTES = 64 << 20
_MAX_CLASSES = 200
_MAX_POINTS = 100_000

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ClassScore(_Value):
    """Scores of one class, each 0 to 1; None where it was not computed (a published table)."""

    name: Name
    cells: Count | None = None
    f1: Share | None = None
    precision: Share | None = None
    recall: Share | None = None
    average_precision: Share | None = None


class Curve(_Value):
    """Precision against recall of one class, against all others, in the order of ascending threshold or recall."""

    name: Name
    recall: tuple[Share, ...] = Field(max_length=_MAX_POINTS)
    precision: tuple[Share, ...] = Field(max_length=_MAX_POINTS)

    @model_validator(mode="after")
    def _as_long(self) -> Self:
        if len(self.recall) != len(self.precision):
            raise ValueError(f"curve {self.name!r}: {len(self.recall)} recalls, {len(self.precision)} precisions")
        return self


class Split(_Value):
    """How a model did under one way to split the cells into training and test."""

    name: Name
    folds: Count | None = None
    cells: Count | None = None
    weighted_f1: Share | None = None
    macro_f1: Share | None = None
    accuracy: Share | None = None
    baselines: dict[str, Share] = Field(default_factory=dict)
    per_class: tuple[ClassScore, ...] = ()
    confusion: tuple[tuple[Count, ...], ...] = ()
    precision_recall: tuple[Curve, ...] = ()
    ranks: tuple[tuple[Count, ...], ...] = ()


class Model(_Value):
    """One classifier, or a published reference."""

    name: Name
    note: str = ""
    splits: tuple[Split, ...] = Field(min_length=1)


class Exclusion(_Value):
    """A class or group of cells that was left out, and why."""

    name: Name
    cells: Count = 0
    reason: str = ""


class Phenotypes(_Value):
    """The content of ``phenotypes.json``; see the module for its form."""

    format: Literal["phenostream.phenotypes"] = "phenostream.phenotypes"
    version: Literal[1] = 1
    title: str = ""
    classes: tuple[Name, ...] = Field(min_length=2, max_length=_MAX_CLASSES)
    models: tuple[Model, ...] = Field(min_length=1, max_length=50)
    excluded: tuple[Exclusion, ...] = ()
    provenance: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _classes_are_distinct(self) -> Self:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("a class is named twice")
        return self

    @model_validator(mode="after")
    def _everything_is_about_these_classes(self) -> Self:
        known, count = set(self.classes), len(self.classes)
        for model in self.models:
            for split in model.splits:
                named = {one.name for one in split.per_class} | {one.name for one in split.precision_recall}
                if named - known:
                    raise ValueError(f"{model.name}, {split.name}: unknown class {min(named - known)!r}")
                if split.confusion and any(len(row) != count for row in (split.confusion, *split.confusion)):
                    raise ValueError(f"{model.name}, {split.name}: confusion is not {count} x {count}")
                if split.ranks and any(len(row) != count for row in (split.ranks, *split.ranks)):
                    raise ValueError(f"{model.name}, {split.name}: ranks are not {count} x {count}")
        return self


def read(path: str | Path) -> Phenotypes:
    """The results in the file at `path`.

    Raises:
        NotFoundError: no such file.
        TooLargeError: over 64 MB.
        DamagedError: not JSON of the form above; the message says where.
    """
    file = Path(path)
    if not file.is_file():
        raise NotFoundError(f"no phenotype results at {path}", remedy="give the phenotypes.json of a classifier")
    if file.stat().st_size > _MAX_BYTES:
        raise TooLargeError(f"{path} has {file.stat().st_size} bytes", remedy="thin out its precision-recall curves")
    try:
        return Phenotypes.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise DamagedError(
            f"{path} is no phenostream.phenotypes file: {recipes.faults(error, most=1)}",
            remedy="see docs/report.md for its form",
        ) from error


def dumps(value: Phenotypes) -> str:
    """`value` as the text of ``phenotypes.json``: the same bytes for the same results."""
    return json.dumps(value.model_dump(mode="json"), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
