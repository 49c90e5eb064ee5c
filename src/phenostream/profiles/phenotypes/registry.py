"""Which models there are: the modules of the folder ``models``, and those that other packages offer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

from pydantic import BaseModel, ValidationError

from phenostream.errors import RecipeError
from phenostream.values import recipes
from phenostream.values.plugs import Plugs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

GROUP = "phenostream.phenotype_models"
_PLUGS = Plugs("phenostream.profiles.phenotypes.models", GROUP, "model")


class Model(Protocol):
    """What a module must offer to be a model."""

    Settings: type[BaseModel]
    candidates: Callable[[Any], list[dict[str, Any]]]
    path: Callable[..., list[dict[str, Any]]]
    decide: Callable[[Any, Any], Any]


def model_names() -> tuple[str, ...]:
    """Every model, sorted."""
    return _PLUGS.names()


def model(name: str) -> Model:
    """The model called `name`. Raises RecipeError with the known names."""
    return cast("Model", _PLUGS.load(name))


def model_settings(name: str, given: Mapping[str, Any] | BaseModel | None) -> BaseModel:
    """Settings of a model; those that are settings already stay. Raises RecipeError with the key and what it wants."""
    if isinstance(given, BaseModel):
        return given
    try:
        return model(name).Settings.model_validate(dict(given or {}))
    except ValidationError as error:
        told = recipes.faults(error, most=1)
        raise RecipeError(f"{name}: {told}", remedy="see docs/phenotypes.md for every setting") from error
