"""Training: one fit loop for every task, from a recipe to a model package. torch is imported on use only.

A task is a module of :mod:`phenostream.training.tasks`; its name is what ``task`` says in a recipe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phenostream.errors import MissingExtraError
from phenostream.lazy import on_first_use
from phenostream.training.plug import Batch, Example, Task, stack
from phenostream.training.settings import FitSettings

if TYPE_CHECKING:
    from phenostream.training.experiment import Experiment, train
    from phenostream.training.export import to_onnx
    from phenostream.training.fitting import FitResult, Progress, fit
    from phenostream.training.provenance import hash_files
    from phenostream.training.recipe import Recipe, schema

__all__ = [
    "Batch",
    "Example",
    "Experiment",
    "FitResult",
    "FitSettings",
    "Progress",
    "Recipe",
    "Task",
    "fit",
    "hash_files",
    "schema",
    "stack",
    "to_onnx",
    "train",
]

_look_up = on_first_use(
    __name__,
    {
        "Experiment": "experiment",
        "FitResult": "fitting",
        "Progress": "fitting",
        "Recipe": "recipe",
        "fit": "fitting",
        "hash_files": "provenance",
        "schema": "recipe",
        "to_onnx": "export",
        "train": "experiment",
    },
)


def __getattr__(name: str) -> Any:
    try:
        return _look_up(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "torch":
            raise MissingExtraError.of("torch", "train") from error
        raise
