"""Which tasks there are: the modules of the folder ``tasks``, and those that other packages announce."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from phenostream.errors import MissingExtraError, RecipeError
from phenostream.values import recipes
from phenostream.values.plugs import Plugs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from pydantic import BaseModel

    from phenostream.training.plug import Task

GROUP = "phenostream.tasks"
_PLUGS = Plugs("phenostream.training.tasks", GROUP, "task")
_EXTRA = frozenset({"torch", "onnx", "onnxscript", "tensorboard"})


def names() -> tuple[str, ...]:
    """All tasks, sorted."""
    return _PLUGS.names()


def settings(name: str, mapping: Mapping[str, Any]) -> BaseModel:
    """The settings that `mapping` describes, of the task `name`.

    Raises:
        RecipeError: an unknown task or key, or a value that does not fit; every fault is named.
        MissingExtraError: the packages of the extra ``train`` are not there.
    """
    model: type[BaseModel] = _module(name).Settings
    try:
        return model.model_validate(dict(mapping))
    except ValidationError as error:
        known = ", ".join(model.model_fields)
        told = recipes.faults(error, whole="settings")
        raise RecipeError(f"settings of task {name!r}: {told}", remedy=f"its keys are: {known}") from error


def build(name: str, settings: BaseModel) -> Task:
    """The task `name` under `settings`. Raises RecipeError, MissingExtraError."""
    return cast("Task", _module(name).build(settings))


def schemas() -> dict[str, Any]:
    """JSON Schemas of all tasks' settings, by name."""
    return {name: _module(name).Settings.model_json_schema() for name in names()}


def _module(name: str) -> ModuleType:
    try:
        return _PLUGS.load(name)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in _EXTRA:
            raise MissingExtraError.of(missing, "train") from error
        raise
