"""The recipe of an experiment: what is learnt, how it is fitted, and the seed.

::

    task: segment
    settings: {...}        # of the task
    train: {epochs: 40, batch_size: 16, ema: 0.999, monitor: ap}
    seed: 0
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError

from phenostream.errors import RecipeError
from phenostream.training import registry
from phenostream.training.settings import FitSettings
from phenostream.values import recipes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Recipe(BaseModel):
    """One experiment, resolved."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str = Field(description="what is learnt; names a module of the folder of tasks")
    settings: SerializeAsAny[BaseModel] = Field(description="the task's own settings")
    train: FitSettings = Field(default_factory=FitSettings, description="how the network is fitted")
    seed: int = Field(0, ge=0, description="of every random choice")

    @classmethod
    def load(cls, recipe: Recipe | Mapping[str, Any] | str | Path, overrides: Iterable[str] = ()) -> Self:
        """A recipe from a YAML file, a mapping or a recipe, with ``a.b=c`` overrides.

        Raises:
            RecipeError: with the key and what was expected.
            NotFoundError: no such file.
            MissingExtraError: the packages of the extra ``train`` are not there.
        """
        mapping, name = _mapping(recipe)
        for text in overrides:
            recipes.override(mapping, text, example="train.epochs=5")
        task = mapping.get("task")
        if not isinstance(task, str):
            raise RecipeError(f"{name} names no task", remedy=f"task: {' | '.join(registry.names())}")
        given = mapping.get("settings") or {}
        if not isinstance(given, dict):
            raise RecipeError(f"{name}: settings is no mapping", remedy="write key: value pairs below it")
        try:
            return cls.model_validate({**mapping, "settings": registry.settings(task, given)})
        except ValidationError as error:
            keys = "task, settings, seed and train with " + ", ".join(FitSettings.model_fields)
            raise RecipeError(f"{name}: {recipes.faults(error, whole='recipe')}", remedy=f"its keys: {keys}") from error

    def text(self) -> str:
        """The resolved recipe as YAML, every default filled in."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def schema() -> dict[str, Any]:
    """JSON Schema of an experiment's recipe, for editors: a branch for each task.

    Each task's definitions move to the whole's, under names that carry the task's.
    """
    whole = Recipe.model_json_schema()
    branches = []
    for name, settings in registry.schemas().items():
        for key, definition in settings.pop("$defs", {}).items():
            whole["$defs"][f"{name}.{key}"] = _repointed(definition, name)
        branches.append({"properties": {"task": {"const": name}, "settings": _repointed(settings, name)}})
    whole["properties"]["settings"] = {"type": "object"}
    # Settings may be left out: the tasks' own defaults then stand, or the task's schema says what it needs.
    whole["required"] = ["task"]
    return {**whole, "oneOf": branches} if branches else whole


def _repointed(value: Any, task: str) -> Any:
    if isinstance(value, list):
        return [_repointed(one, task) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        key: one.replace("#/$defs/", f"#/$defs/{task}.") if key == "$ref" else _repointed(one, task)
        for key, one in value.items()
    }


def _mapping(recipe: Recipe | Mapping[str, Any] | str | Path) -> tuple[dict[str, Any], str]:
    if isinstance(recipe, Recipe):
        return recipe.model_dump(mode="json"), "the recipe"
    if not isinstance(recipe, str | Path):
        return dict(recipe), "the recipe"
    return recipes.read(Path(recipe), start="`task:`"), str(recipe)
