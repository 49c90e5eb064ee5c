"""Recipes of packs: where a screen lies, and how it is packed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from phenostream.datasets._files import local
from phenostream.datasets.settings import PackSettings
from phenostream.errors import RecipeError
from phenostream.values import recipes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class PackRecipe(BaseModel):
    """What one packing does."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: dict[str, Any] = Field(description="A catalog and its settings, as in the recipe of a run.")
    pack: PackSettings = Field(default_factory=PackSettings, description="How sites are packed.")


def load(recipe: Mapping[str, Any] | str | Path, overrides: Iterable[str] = ()) -> PackRecipe:
    """A recipe from a YAML file, a mapping, or a folder of images (which is then the base of the folder catalog).

    Args:
        recipe: file, folder or mapping.
        overrides: ``pack.seed=1`` and the like; values are YAML.

    Raises:
        NotFoundError: no such file or folder.
        RecipeError: a URL, not YAML, an unknown key, a wrong value.
    """
    mapping = _mapping(recipe)
    for text in overrides:
        recipes.override(mapping, text, example="pack.seed=1")
    try:
        return PackRecipe.model_validate(mapping)
    except ValidationError as error:
        told = recipes.faults(error)
        raise RecipeError(f"the recipe of the pack: {told}", remedy="its keys are source and pack") from error


def _mapping(recipe: Mapping[str, Any] | str | Path) -> dict[str, Any]:
    if not isinstance(recipe, (str, Path)):
        return {key: dict(value) if isinstance(value, dict) else value for key, value in recipe.items()}
    path = local(recipe)
    if path.is_dir():
        return {"source": {"catalog": "folder", "base": str(path)}}
    return recipes.read(path, start="`source:`", remedy="give a YAML file or a folder")
