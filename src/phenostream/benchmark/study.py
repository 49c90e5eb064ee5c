"""A phenotype study: one recipe from crops, or a table of cells, to scores under every split, and a classifier."""

from __future__ import annotations

import csv
import hashlib
import json
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from phenostream.benchmark.phenotyping import BASELINES, baselines, cross_validate, evaluate
from phenostream.errors import NotFoundError, RecipeError
from phenostream.profiles.phenotypes.classifier import train
from phenostream.profiles.phenotypes.crops import CropTable, read_crops
from phenostream.profiles.phenotypes.describing import DescribeSettings, describe
from phenostream.profiles.phenotypes.labels import LEAST, labelled
from phenostream.profiles.phenotypes.package import save
from phenostream.profiles.phenotypes.registry import model_settings
from phenostream.profiles.tables import Held, open_table, write_table
from phenostream.profiles.writing import replacing
from phenostream.values import recipes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from phenostream.benchmark.phenotyping import Predictions
    from phenostream.profiles.phenotypes.labels import Labelled

    Progress = Callable[[str, int, int], None]

CELLS, RESULTS, STUDY, RANKS = "cells.parquet", "phenotypes.json", "study.json", "mean_rank.csv"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelChoice(_Value):
    """One model of a study."""

    model: str = Field(description="discriminant, elastic_net, or one that a plug-in brings")
    name: str = Field("", description="what tables and figures call it; the model's own name where empty")
    note: str = Field("", description="a few words beside it")
    settings: dict[str, Any] = Field(default_factory=dict, description="of the model")
    splits: tuple[str, ...] | None = Field(None, description="splits of this model; those of the study when none")


class Reference(_Value):
    """Published figures, shown beside."""

    name: str = Field(description="whose")
    split: str = Field(description="how cells were split, in words")
    note: str = Field("", description="a few words beside it")
    weighted_f1: float | None = Field(None, ge=0, le=1, description="weighted F1")
    f1: dict[str, float] = Field(default_factory=dict, description="F1 by class")
    mean_rank: dict[str, float] = Field(default_factory=dict, description="mean rank of the true class, by class")


class Study(_Value):
    """A phenotype study, resolved."""

    title: str = Field("", description="of figures and pages")
    crops: CropTable | None = Field(None, description="labelled crops; or `cells`")
    cells: Path | None = Field(None, description="table of labelled cells: Parquet file or folder, or a run folder")
    describe: DescribeSettings = Field(default_factory=DescribeSettings, description="what is told of each crop")
    label: str = Field("Metadata_Phenotype", description="column of the class")
    groups: dict[str, tuple[str, ...]] | None = Field(
        None, description="columns that name what cells share, by split; image, well and plate by themselves when none"
    )
    exclude: tuple[str, ...] = Field((), description="classes that are left out, counted")
    least: int = Field(LEAST, ge=2, description="classes with fewer cells are left out, counted")
    models: tuple[ModelChoice, ...] = Field((ModelChoice(model="discriminant"),), min_length=1, description="models")
    splits: tuple[str, ...] = Field(
        ("leave-one-image-out",),
        min_length=1,
        description="cell, image, well, plate, or leave-one-image-out (any group of `groups`)",
    )
    folds: int = Field(7, ge=2, le=100, description="of splits that do not leave one group out at a time")
    seed: int = Field(0, ge=0, description="of every random choice")
    draws: int = Field(1000, ge=0, description="bootstrap samples of groups behind intervals")
    permutations: int = Field(1000, ge=0, description="of the truth, behind p-values")
    baselines: bool = Field(
        True, description="judge shuffled labels, shuffled features and the most frequent class, too"
    )
    references: tuple[Reference, ...] = Field((), description="published figures")

    @model_validator(mode="after")
    def _crops_or_cells(self) -> Study:
        if (self.crops is None) == (self.cells is None):
            raise ValueError("give either crops or cells")
        return self

    @model_validator(mode="after")
    def _models_are_known(self) -> Study:
        for one in self.models:
            model_settings(one.model, one.settings)
        names = [one.name or one.model for one in self.models]
        if len(set(names)) < len(names):
            raise ValueError("two models share a name")
        return self


@dataclass(frozen=True, slots=True)
class StudyResult:
    """What a study wrote.

    Attributes:
        folder: with ``cells.parquet`` (crops only), ``phenotypes.json``, ``study.json``, ``mean_rank.csv``,
            ``predictions/`` and ``classifiers/``.
        cells: the table of cells.
        told: the content of ``study.json``.
    """

    folder: Path
    cells: Path
    told: dict[str, Any]


def load_study(recipe: Study | str | Path, overrides: Iterable[str] = ()) -> tuple[Study, Path]:
    """A study from a YAML file, with ``a.b=c`` overrides, and the folder that its relative paths start from.

    Raises:
        NotFoundError: no such file. RecipeError: with the key and what was expected.
    """
    if isinstance(recipe, Study):
        return recipe, Path()
    path = Path(recipe)
    told = recipes.read(path, start="`crops:` or `cells:`")
    for text in overrides:
        recipes.override(told, text, example="key.key=value")
    try:
        return Study.model_validate(told), path.parent
    except ValidationError as error:
        wrong = recipes.faults(error, most=1)
        raise RecipeError(f"{path}: {wrong}", remedy="see docs/phenotypes.md for every key") from error


def run_study(
    recipe: Study | str | Path,
    out: str | Path,
    *,
    overrides: Iterable[str] = (),
    progress: Progress | None = None,
) -> StudyResult:
    """Describe the crops, judge every model under every split, train each on all cells, write it all.

    Cells that were described before with the same settings and pictures are not described again.

    Args:
        recipe: a YAML file or a :class:`Study`.
        out: folder; its parent must exist.
        overrides: ``key.key=value``.
        progress: called with what is being done, steps done, steps in all.

    Raises:
        NotFoundError, RecipeError, DamagedError: as reading crops, tables and recipes.
    """
    study, base = load_study(recipe, overrides)
    folder = Path(out)
    if not folder.parent.is_dir():
        raise NotFoundError(f"there is no folder {folder.parent}", remedy="make it, or choose another place")
    folder.mkdir(exist_ok=True)
    table, excluded = _cells(study, base, folder, progress)
    cells = labelled(table, label=study.label, groups=study.groups, exclude=study.exclude, least=study.least)
    models, more = [], {}
    for choice in study.models:
        splits, told = _judged(study, choice, cells, folder, progress)
        models.append({"name": choice.name or choice.model, "note": choice.note, "splits": splits})
        more[choice.name or choice.model] = told
        save(_final(study, choice, cells), _inside(folder / "classifiers") / _plain(choice.name or choice.model))
    excluded += cells.excluded["classes"]
    _write_results(study, folder, table, cells, models, excluded)
    told = {
        "recipe": study.model_dump(mode="json"),
        "cells": len(cells),
        "classes": list(cells.classes),
        "features": len(cells.features),
        "features_left_out": {reason: len(names) for reason, names in cells.excluded["features"].items()},
        "excluded": excluded,
        "models": more,
        "versions": _versions(),
    }
    _write_json(folder / STUDY, told)
    _write_ranks(folder / RANKS, study, more, cells.classes)
    return StudyResult(folder, table, told)


def _cells(study: Study, base: Path, folder: Path, progress: Progress | None) -> tuple[Path, list[dict[str, Any]]]:
    if study.crops is None:
        return base / (study.cells or Path()), []
    crops = read_crops(study.crops, base)
    excluded = [{"name": name, "cells": count, "reason": "left out as asked"} for name, count in crops.excluded.items()]
    table, note = folder / CELLS, folder / "cells.json"
    identity = _identity(study, crops.pixels)
    if table.is_file() and note.is_file() and json.loads(note.read_text(encoding="utf-8")) == identity:
        return table, excluded
    step = (lambda done, every: progress("crops", done, every)) if progress else None
    write_table(Held(describe(crops, study.describe, progress=step)), table)
    _write_json(note, identity)
    return table, excluded


def _identity(study: Study, pixels: Any) -> dict[str, Any]:
    told: dict[str, Any] = {
        "crops": study.crops.model_dump(mode="json") if study.crops else None,
        "describe": study.describe.model_dump(mode="json"),
        "pixels": hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest(),
        "phenostream": version("phenostream"),
    }
    if study.describe.embedding:
        from phenostream.inference import find  # noqa: PLC0415  (opens the package)

        told["embedding"] = find(study.describe.embedding).sha256
    return told


def _judged(
    study: Study, choice: ModelChoice, cells: Labelled, folder: Path, progress: Progress | None
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    splits, more = [], {}
    for by in choice.splits or study.splits:
        name = f"{choice.name or choice.model}, {by}"
        step = (lambda done, every, name=name: progress(name, done, every)) if progress else None
        found = cross_validate(
            cells, choice.model, choice.settings, by=by, folds=study.folds, seed=study.seed, progress=step
        )
        told = evaluate(found, draws=study.draws, permutations=study.permutations, seed=study.seed)
        if study.baselines:
            told["split"]["baselines"] = baselines(
                cells, choice.model, choice.settings, by=by, folds=study.folds, seed=study.seed, wanted=BASELINES
            )
        splits.append(told["split"])
        more[by] = told["more"] | {"weighted_f1": told["split"]["weighted_f1"], "macro_f1": told["split"]["macro_f1"]}
        _write_predictions(found, _inside(folder / "predictions") / f"{_plain(name)}.parquet")
    return splits, more


def _final(study: Study, choice: ModelChoice, cells: Labelled) -> Any:
    by = next((one for one in ("image", "well", "plate") if one in cells.groups), "cell")
    return train(cells, choice.model, choice.settings, by=by, seed=study.seed)


def _write_predictions(found: Predictions, path: Path) -> None:
    columns = {
        "CellId": pa.array(found.cells.ids.tolist()),
        "Metadata_Phenotype": pa.array(found.cells.truth.tolist()),
        "Phenotype": pa.array(found.called.tolist()),
        **{f"Metadata_{name}": pa.array(codes.tolist()) for name, codes in found.cells.groups.items()},
        **{
            f"Phenotype_Probability_{name}": pa.array(found.probabilities[:, place].astype(np.float32))
            for place, name in enumerate(found.cells.classes)
        },
    }
    with replacing(path) as temporary:
        pq.write_table(pa.table(columns), temporary, compression="zstd", write_page_checksum=True)


def _write_results(
    study: Study, folder: Path, table: Path, cells: Labelled, models: list[Any], excluded: list[Any]
) -> None:
    references = [
        {
            "name": one.name,
            "note": one.note,
            "splits": [
                {
                    "name": one.split,
                    "weighted_f1": one.weighted_f1,
                    "per_class": [{"name": name, "f1": one.f1[name]} for name in cells.classes if name in one.f1],
                }
            ],
        }
        for one in study.references
        if one.weighted_f1 is not None or one.f1
    ]
    told = {
        "format": "phenostream.phenotypes",
        "version": 1,
        "title": study.title,
        "classes": list(cells.classes),
        "models": [*models, *references],
        "excluded": excluded,
        "provenance": {"table": table.name, "rows": str(open_table(table).count()), **_versions()},
    }
    _write_json(folder / RESULTS, told)


def _write_ranks(path: Path, study: Study, more: dict[str, Any], classes: Sequence[str]) -> None:
    """Mean rank of the true class, by class: every model and split, then what was published."""
    columns = {f"{name}, {by}": told["mean_rank"] for name, splits in more.items() for by, told in splits.items()}
    columns |= {f"{one.name}, {one.split}": one.mean_rank for one in study.references if one.mean_rank}
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["class", *columns])
        for name in classes:
            values = [ranks.get(name) for ranks in columns.values()]
            writer.writerow([name, *("" if one is None else f"{one:.3f}" for one in values)])


def _versions() -> dict[str, str]:
    named = ("phenostream", "numpy", "scipy", "scikit-image")
    return {"python": platform.python_version(), **{name: version(name) for name in named}}


def _inside(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _plain(name: str) -> str:
    return "".join(sign if sign.isalnum() or sign in "-_" else "_" for sign in name)


def _write_json(path: Path, value: Any) -> None:
    with replacing(path) as temporary:
        temporary.write_text(
            json.dumps(value, indent=1, sort_keys=True, default=str, allow_nan=False), encoding="utf-8"
        )
