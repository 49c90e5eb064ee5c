"""Which models there are: the modules of the folder ``models``, and those that other packages offer."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Protocol, cast

from pydantic import BaseModel, ValidationError

from phenostream.errors import RecipeError
from phenostream.profiles.phenotypes import models
from phenostream.values import recipes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

GROUP = "phenostream.phenotype_models"


class Model(Protocol):
    """What a module must offer to be a model."""

    Settings: type[BaseModel]
    candidates: Callable[[Any], list[dict[str, Any]]]
    path: Callable[..., list[dict[str, Any]]]
    decide: Callable[[Any, Any], Any]


def model_names() -> tuple[str, ...]:
    """Every model, sorted."""
    own = {found.name for found in iter_modules(models.__path__)}
    return tuple(sorted(own | {point.name for point in entry_points(group=GROUP)}))


def model(name: str) -> Model:
    """The model called `name`. Raises RecipeError with the known names."""
    if name in {found.name for found in iter_modules(models.__path__)}:
        return cast("Model", import_module(f"{models.__name__}.{name}"))
    for point in entry_points(group=GROUP, name=name):
        return cast("Model", point.load())
    raise RecipeError(f"no model {name!r}", remedy=f"choose one of: {', '.join(model_names())}")


def model_settings(name: str, given: Mapping[str, Any] | BaseModel | None) -> BaseModel:
    """Settings of a model; those that are settings already stay. Raises RecipeError with the key and what it wants."""
    if isinstance(given, BaseModel):
        return given
    try:
        return model(name).Settings.model_validate(dict(given or {}))
    except ValidationError as error:
        told = recipes.faults(error, most=1)
        raise RecipeError(f"{name}: {told}", remedy="see docs/phenotypes.md for every setting") from error
