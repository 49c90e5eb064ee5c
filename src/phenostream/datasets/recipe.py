"""Recipes of packs: where a screen lies, and how it is packed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from phenostream.datasets.settings import PackSettings
from phenostream.errors import NotFoundError, RecipeError

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
        RecipeError: not YAML, an unknown key, a wrong value.
    """
    mapping = _mapping(recipe)
    for text in overrides:
        _override(mapping, text)
    try:
        return PackRecipe.model_validate(mapping)
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False))
        raise RecipeError(f"the recipe of the pack: {told}", remedy="its keys are source and pack") from error


def _mapping(recipe: Mapping[str, Any] | str | Path) -> dict[str, Any]:
    if not isinstance(recipe, (str, Path)):
        return {key: dict(value) if isinstance(value, dict) else value for key, value in recipe.items()}
    path = Path(recipe)
    if path.is_dir():
        return {"source": {"catalog": "folder", "base": str(path)}}
    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no recipe or folder {path}", remedy="give a YAML file or a folder") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not YAML: {error}", remedy="correct it") from error
    if not isinstance(told, dict):
        raise RecipeError(f"{path} holds no keys", remedy="it needs source")
    return told


def _override(mapping: dict[str, Any], text: str) -> None:
    place, equals, value = text.partition("=")
    *above, last = place.split(".")
    if not equals or not all((*above, last)):
        raise RecipeError(f"cannot read the override {text!r}", remedy="write it as pack.seed=1")
    inner = mapping
    for name in above:
        inner = inner.setdefault(name, {})
        if not isinstance(inner, dict):
            raise RecipeError(f"override {text!r}: {name} holds no keys")
    inner[last] = yaml.safe_load(value)
