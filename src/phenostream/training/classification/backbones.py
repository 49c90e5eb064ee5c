"""Backbones by name: modules of the folder ``networks`` with ``Settings`` and ``backbone(channels, settings)``."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from phenostream.errors import RecipeError
from phenostream.training import networks
from phenostream.values import recipes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from pydantic import BaseModel
    from torch import nn


def names() -> tuple[str, ...]:
    """All backbones, sorted."""
    return tuple(sorted(one.name for one in iter_modules(networks.__path__) if _fits(_module(one.name))))


def settings(name: str, shape: Mapping[str, Any]) -> BaseModel:
    """The settings `shape` of the backbone `name`. Raises RecipeError with what there is."""
    if name not in {one.name for one in iter_modules(networks.__path__)} or not _fits(_module(name)):
        raise RecipeError(f"no backbone {name!r}", remedy=f"choose one of: {', '.join(names())}")
    model: type[BaseModel] = _module(name).Settings
    try:
        return model.model_validate(dict(shape))
    except ValidationError as error:
        known = ", ".join(model.model_fields)
        raise RecipeError(f"{name}: {recipes.faults(error, whole='shape')}", remedy=f"its keys are: {known}") from error


def build(name: str, channels: int, shape: Mapping[str, Any]) -> tuple[nn.Module, int]:
    """The backbone `name` for images of `channels` channels, and how many features it gives. Raises RecipeError."""
    made: nn.Module = _module(name).backbone(channels, settings(name, shape))
    return made, int(made.width)  # type: ignore[arg-type]


def _module(name: str) -> ModuleType:
    return import_module(f"{networks.__name__}.{name}")


def _fits(module: ModuleType) -> bool:
    return hasattr(module, "Settings") and hasattr(module, "backbone")
