"""Recipes as they are written: what is read, what is overridden, and how faults are told."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from phenostream.errors import NotFoundError, RecipeError
from phenostream.values import recipes


def test_a_recipe_is_a_mapping_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("task: segment\ntrain: {epochs: 5}\n")
    assert recipes.read(tmp_path / "r.yaml", start="`task:`") == {"task": "segment", "train": {"epochs": 5}}


@pytest.mark.parametrize(("text", "told"), [
    (b"- a\n", r"is not a mapping \(start it with `task:`\)"),
    (b"", r"is not a mapping"),
    (b"a: [1\n", r"r\.yaml is not YAML: "),
    (b"\xff\xfe", r"r\.yaml is not YAML: "),
    (b" " * ((1 << 20) + 1), r"over 1 MiB \(is this a recipe\?\)"),
])  # fmt: skip
def test_what_is_no_recipe_is_named(tmp_path: Path, text: bytes, told: str) -> None:
    (tmp_path / "r.yaml").write_bytes(text)
    with pytest.raises(RecipeError, match=told):
        recipes.read(tmp_path / "r.yaml", start="`task:`")


def test_without_a_file_the_remedy_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no recipe at .*none\.yaml \(give the path of a YAML file\)"):
        recipes.read(tmp_path / "none.yaml", start="`task:`")
    with pytest.raises(NotFoundError, match=r"\(or a folder\)"):
        recipes.read(tmp_path, start="`task:`", remedy="or a folder")


def test_a_setting_is_a_key_and_a_value_of_yaml() -> None:
    assert recipes.typed(" by =[a, b]") == ("by", ["a", "b"])
    assert recipes.typed("where={a: b=c}") == ("where", {"a": "b=c"})
    assert recipes.typed("empty=") == ("empty", None)


@pytest.mark.parametrize("text", ["draws", "=3", " =3"])
def test_what_is_no_setting_is_named(text: str) -> None:
    with pytest.raises(RecipeError, match=r"cannot read the setting .*\(write it as key=value\)"):
        recipes.typed(text)
    with pytest.raises(RecipeError, match=r"cannot read the value of --crops 'a=\[' \(quote it\)"):
        recipes.typed("a=[", what="--crops")


def test_an_override_goes_as_deep_as_it_says_and_copies_on_its_way() -> None:
    inner = {"epochs": 40, "seed": 1}
    mapping = {"train": inner, "empty": None}
    for text in ("train.epochs=5", "a.b.c=x", "empty.key=1", "task=segment"):
        recipes.override(mapping, text, example="a.b=c")
    assert mapping == {
        "train": {"epochs": 5, "seed": 1}, "a": {"b": {"c": "x"}}, "empty": {"key": 1}, "task": "segment",
    }  # fmt: skip
    assert inner == {"epochs": 40, "seed": 1}


def test_an_override_of_what_holds_no_keys_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"override 'task\.name=x': task holds no keys"):
        recipes.override({"task": "segment"}, "task.name=x", example="a.b=c")
    with pytest.raises(RecipeError, match=r"cannot read the override 'x' \(write it as a\.b=c\)"):
        recipes.override({}, "x", example="a.b=c")


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    epochs: int = 1


class Whole(BaseModel):
    train: Inner = Inner()
    draws: int = 1

    @model_validator(mode="after")
    def draws_are_even(self) -> Whole:
        if self.draws % 2 == 0:
            raise ValueError("odd numbers only")
        return self


def _refused(told: dict) -> ValidationError:
    with pytest.raises(ValidationError) as error:
        Whole.model_validate(told)
    return error.value


def test_faults_have_a_place_and_a_reason() -> None:
    error = _refused({"train": {"epoch": 3}, "draws": "many"})
    first = "train.epoch: Extra inputs are not permitted"
    assert recipes.faults(error, most=1) == first
    assert recipes.faults(error).startswith(f"{first}; draws: Input should be a valid integer")
    assert recipes.faults(_refused({"draws": 2}), whole="recipe") == "recipe: Value error, odd numbers only"
