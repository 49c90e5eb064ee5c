"""Where a network's weights come from: versions, machine, seed, hashes of what was learnt from."""

from __future__ import annotations

import hashlib
import platform
from importlib import metadata
from typing import TYPE_CHECKING, Any

import torch

from phenostream import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from phenostream.training.plug import Task
    from phenostream.training.recipe import Recipe

_LIBRARIES = ("torch", "numpy", "scipy", "scikit-image", "onnx", "onnxscript", "onnxruntime", "safetensors", "pydantic")


def provenance(recipe: Recipe, task: Task) -> dict[str, Any]:
    """What an experiment and its package say of their origin, as JSON values."""
    return {
        "phenostream": __version__,
        "recipe": recipe.model_dump(mode="json"),
        "seed": recipe.seed,
        "data": dict(task.data()),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "libraries": dict(_versions()),
    }


def hash_files(root: Path, files: Iterable[Path]) -> dict[str, str]:
    """The sha256 of each file by its path below `root`: what a task's `data` tells."""
    told = {}
    for path in sorted(files):
        with path.open("rb") as file:
            told[path.relative_to(root).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return told


def _versions() -> Iterable[tuple[str, str]]:
    for name in _LIBRARIES:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
