from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from phenostream.errors import MissingExtraError, NotFoundError, RecipeError
from phenostream.training import FitSettings, Recipe, registry, schema

GOOD = {"task": "blobs", "settings": {"width": 4}, "train": {"epochs": 3}}


def test_a_recipe_comes_from_a_file_a_mapping_or_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / "blobs.yaml"
    path.write_text(yaml.safe_dump(GOOD))
    recipe = Recipe.load(path)
    assert recipe == Recipe.load(GOOD) == Recipe.load(recipe) == Recipe.load(yaml.safe_load(recipe.text()))
    assert recipe.settings.width == 4
    assert recipe.train == FitSettings(epochs=3)
    assert recipe.seed == 0


def test_overrides_reach_any_depth_and_leave_the_mapping_alone() -> None:
    mapping = {"task": "blobs", "settings": {"width": 4}}
    recipe = Recipe.load(mapping, ["settings.width=8", "train.epochs=2", "train.batch_size=auto", "seed=3"])
    assert (recipe.settings.width, recipe.train.epochs, recipe.train.batch_size, recipe.seed) == (8, 2, "auto", 3)
    assert mapping == {"task": "blobs", "settings": {"width": 4}}


@pytest.mark.parametrize(
    ("change", "message", "remedy"),
    [
        ({"task": "dance"}, "no task 'dance'", "blobs"),
        ({"task": None}, "names no task", "blobs"),
        ({"settings": {"wide": 4}}, "settings of task 'blobs': wide", "width"),
        ({"settings": {"width": "x"}}, "settings of task 'blobs': width", "width"),
        ({"settings": 3}, "settings is no mapping", "key"),
        ({"train": {"epoch": 4}}, "train.epoch", "epochs"),
        ({"train": {"patience": 4}}, "patience needs `monitor`", "monitor"),
        ({"trian": {}}, "trian", "train"),
        ({"seed": -1}, "seed", "seed"),
    ],
)
def test_every_fault_is_named(change: dict[str, object], message: str, remedy: str) -> None:
    with pytest.raises(RecipeError) as told:
        Recipe.load({**GOOD, **change})
    assert message in told.value.message
    assert remedy in told.value.remedy


@pytest.mark.parametrize("text", ["train.epochs", "=3", "task.deep=3", "train.epochs={"])
def test_overrides_that_say_nothing_are_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="override"):
        Recipe.load(GOOD, [text])


def test_files_that_are_no_recipes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no recipe at"):
        Recipe.load(tmp_path / "none.yaml")
    path = tmp_path / "a.yaml"
    for content, message in ((b"- a", "not a mapping"), (b"a: [", "not YAML"), (b"\xff\xfe\xfd", "not YAML")):
        path.write_bytes(content)
        with pytest.raises(RecipeError, match=message):
            Recipe.load(path)
    path.write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(RecipeError, match="over 1 MiB"):
        Recipe.load(path)


def test_yaml_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("task: !!python/object/apply:os.system ['touch ran']")
    with pytest.raises(RecipeError, match="not YAML"):
        Recipe.load(path)
    assert list(tmp_path.iterdir()) == [path]


def test_the_schema_has_a_branch_for_every_task() -> None:
    told = schema()
    branches = {branch["properties"]["task"]["const"]: branch for branch in told["oneOf"]}
    assert set(branches) == set(registry.names()) >= {"blobs"}
    assert branches["blobs"]["properties"]["settings"]["properties"]["width"]["default"] == 6
    assert "epochs" in told["$defs"]["FitSettings"]["properties"]
    assert told["required"] == ["task"]


def test_a_missing_torch_is_refused_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_name: str) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(registry.Plugs, "load", lambda _self, name: load(name))
    with pytest.raises(MissingExtraError) as told:
        registry.settings("blobs", {})
    assert told.value.remedy == 'pip install "phenostream[train]"'
