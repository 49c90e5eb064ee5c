"""Training: one fit loop for every task, from a recipe to a model package. torch is imported on use only.

A task is a module of :mod:`phenostream.training.tasks`; its name is what ``task`` says in a recipe.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from phenostream.errors import MissingExtraError
from phenostream.training.plug import Batch, Example, Task, stack
from phenostream.training.settings import FitSettings

if TYPE_CHECKING:
    from phenostream.training.export import to_onnx
    from phenostream.training.fitting import FitResult, Progress, fit

__all__ = ["Batch", "Example", "FitResult", "FitSettings", "Progress", "Task", "fit", "stack", "to_onnx"]

_LAZY = {"FitResult": "fitting", "Progress": "fitting", "fit": "fitting", "to_onnx": "export"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "torch":
            raise MissingExtraError.of("torch", "train") from error
        raise
