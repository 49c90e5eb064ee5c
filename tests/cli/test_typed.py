"""Settings as they are typed: values are YAML, and every fault is named."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict

from phenostream.cli import typed
from phenostream.errors import RecipeError


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    draws: int = 10
    by: list[str] = []


def test_values_are_yaml_and_the_last_of_a_key_holds() -> None:
    told = typed.pairs(["draws=3", "by=[Metadata_Well]", "where={a: b=c}", " draws =4", "empty="])
    assert told == {"draws": 4, "by": ["Metadata_Well"], "where": {"a": "b=c"}, "empty": None}


@pytest.mark.parametrize(("text", "told"), [
    ("draws", "cannot read the setting 'draws' (write it as key=value)"),
    ("=3", "cannot read the setting '=3' (write it as key=value)"),
    ("by=[1", "cannot read the value of the setting 'by=[1' (quote it)"),
])  # fmt: skip
def test_what_cannot_be_read_is_named(text: str, told: str) -> None:
    with pytest.raises(RecipeError) as error:
        typed.pairs([text])
    assert str(error.value) == told


def test_the_option_is_named() -> None:
    with pytest.raises(RecipeError, match="cannot read --crops 'x'"):
        typed.pairs(["x"], what="--crops")


def test_a_model_judges() -> None:
    assert typed.settings(Settings, ["draws=3"]) == Settings(draws=3)
    with pytest.raises(RecipeError, match=r"^near: Extra inputs are not permitted \(settings: draws, by\)$"):
        typed.settings(Settings, ["near=1"])
    with pytest.raises(RecipeError, match=r"^--draws: .*\(see --help\)$"):
        typed.checked(Settings, {"draws": "many"}, remedy="see --help", dashes="--")
