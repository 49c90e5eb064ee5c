"""A study from a recipe: everything written, read again by the report, not described twice."""

from __future__ import annotations

import json
from pathlib import Path

import imagecodecs
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from skimage.draw import disk, ellipse

from phenostream.benchmark.study import load_study, run_study
from phenostream.errors import NotFoundError, RecipeError
from phenostream.profiles.phenotypes import load
from phenostream.report.phenotypes import read

QUICK = {"families": ["size_shape"], "surroundings": [], "scattering": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Round and long nuclei of twelve images, one odd one out."""
    place = tmp_path_factory.mktemp("study")
    rng = np.random.default_rng(0)
    lines = ["class,file,plate,well,frame"]
    for number in range(61):
        kind = "odd" if number == 60 else ("round", "long")[number % 2]
        crop = np.zeros((48, 48))
        size = rng.uniform(8, 12)
        crop[disk((24, 24), size) if kind != "long" else ellipse(24, 24, 1.6 * size, 0.6 * size, shape=(48, 48))] = 120
        data = np.clip(crop + rng.normal(20, 5, crop.shape), 0, 255).astype(np.uint8)
        (place / f"{number}.png").write_bytes(imagecodecs.png_encode(data))
        lines.append(f"{kind},{number}.png,P{number // 2 % 4},{number % 12},1")
    (place / "crops.csv").write_text("\n".join(lines))
    recipe = {
        "title": "round and long",
        "crops": {"table": "crops.csv", "images": ["."]},
        "describe": QUICK,
        "models": [{"model": "discriminant", "name": "shrunken"}, {"model": "elastic_net", "splits": ["image"]}],
        "splits": ["image", "plate", "leave-one-image-out"],
        "folds": 3,
        "draws": 50,
        "permutations": 50,
        "references": [
            {"name": "published", "split": "by cell", "weighted_f1": 0.9, "f1": {"long": 0.9, "gone": 0.1}},
            {"name": "published", "split": "leave one image out", "mean_rank": {"long": 2.5}},
        ],
    }
    (place / "study.yaml").write_text(yaml.safe_dump(recipe))
    return place


def test_everything_is_written(folder: Path) -> None:
    told = run_study(folder / "study.yaml", folder / "out")
    shown = read(folder / "out" / "phenotypes.json")
    assert shown.classes == ("long", "round")
    assert [model.name for model in shown.models] == ["shrunken", "elastic_net", "published"]
    assert [split.name for split in shown.models[0].splits] == ["image", "plate", "leave-one-image-out"]
    assert shown.models[0].splits[0].weighted_f1 > 0.95
    assert set(shown.models[0].splits[0].baselines) == {"shuffled labels", "shuffled features", "most frequent class"}
    assert [(one.name, one.cells) for one in shown.excluded] == [("odd", 1)]
    assert [one.name for one in shown.models[2].splits[0].per_class] == ["long"]
    calls = pq.read_table(folder / "out" / "predictions" / "shrunken__leave-one-image-out.parquet")
    assert calls.num_rows == 60
    assert load(folder / "out" / "classifiers" / "shrunken").classes == ("long", "round")
    assert json.loads((folder / "out" / "study.json").read_text())["models"]["shrunken"]["image"]["p_value"] < 0.05
    assert told.cells.name == "cells.parquet"
    ranks = (folder / "out" / "mean_rank.csv").read_text().splitlines()
    assert ranks[0].startswith('class,"shrunken, image"')
    assert ranks[0].endswith('"published, leave one image out"')
    assert [line.split(",")[0] for line in ranks[1:]] == ["long", "round"]
    assert ranks[1].endswith(",2.500")


def test_cells_are_described_once(folder: Path) -> None:
    out, only = folder / "again", ["models=[{model: discriminant}]", "splits=[image]"]
    run_study(folder / "study.yaml", out, overrides=only)
    before = (out / "cells.parquet").stat().st_mtime_ns
    run_study(folder / "study.yaml", out, overrides=only)
    assert (out / "cells.parquet").stat().st_mtime_ns == before
    run_study(folder / "study.yaml", out, overrides=[*only, "crops.rescale=range"])
    assert (out / "cells.parquet").stat().st_mtime_ns > before


def test_a_table_of_cells_does_as_well(folder: Path) -> None:
    run_study(folder / "study.yaml", folder / "first", overrides=["models=[{model: discriminant}]", "splits=[image]"])
    recipe = folder / "cells.yaml"
    recipe.write_text(
        "cells: first/cells.parquet\nsplits: [image]\nfolds: 3\ndraws: 0\npermutations: 0\nbaselines: false\n"
    )
    told = run_study(recipe, folder / "second").told
    assert told["cells"] == 60
    assert told["excluded"] == [{"name": "odd", "cells": 1, "reason": "fewer than 2 cells"}]


def test_bad_recipes_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no recipe"):
        load_study(tmp_path / "none.yaml")
    with pytest.raises(NotFoundError, match="no folder"):
        run_study(folder / "study.yaml", tmp_path / "a" / "b")
    for text, words in (
        ("[1]", "not a mapping"), ("a: [", "not YAML"), ("splits: [image]", "either crops or cells"),
        ("cells: x\nmodels: [{model: forest}]", "no model 'forest'"), ("cells: x\nfold: 3", "fold"),
        ("cells: x\nmodels: [{model: discriminant}, {model: discriminant}]", "share a name"),
    ):  # fmt: skip
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(RecipeError, match=words):
            load_study(tmp_path / "bad.yaml")
    with pytest.raises(RecipeError, match="override"):
        load_study(folder / "study.yaml", ["folds"])


def test_the_shipped_recipe_is_sound() -> None:
    study, _ = load_study(Path(__file__).parents[2] / "recipes" / "mitocheck.yaml")
    assert study.splits[0] == "leave-one-image-out"
    assert study.references[0].weighted_f1 == 0.846
