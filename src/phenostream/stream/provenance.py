"""Where a run's numbers come from: resolved recipe, versions, seed, hashes of the tables that were read."""

from __future__ import annotations

import hashlib
import platform
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phenostream import __version__
from phenostream.sources import catalogs
from phenostream.sources.names import shown
from phenostream.stream.plan import step_versions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phenostream.stream.recipe import Recipe

_LIBRARIES = (
    "numpy", "scipy", "scikit-image", "pyarrow", "h5py", "zarr", "tifffile", "imagecodecs", "numba", "pydantic",
)  # fmt: skip


def provenance(recipe: Recipe) -> dict[str, Any]:
    """What run.json holds."""
    resolved = recipe.model_dump(mode="json")
    if "://" in str(resolved["source"].get("base")):  # a URL may carry a password or a token
        resolved["source"]["base"] = shown(resolved["source"]["base"])
    if "://" in resolved["output"]["parts"]:
        resolved["output"]["parts"] = shown(resolved["output"]["parts"])
    base = catalogs.base(recipe.source)
    return {
        "phenostream": __version__,
        "recipe": resolved,
        "recipe_hash": recipe.digest(),
        "seed": recipe.seed,
        "steps": step_versions(recipe),
        "source": shown(base) if "://" in base else base,
        "inputs": dict(_tables(recipe)),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "libraries": dict(_versions()),
    }


def libraries() -> dict[str, str]:
    """Versions of phenostream, of Python without its patch level, and of the libraries that compute and write."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {"phenostream": __version__, "python": python, **dict(_versions())}


def _versions() -> Iterator[tuple[str, str]]:
    for name in _LIBRARIES:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue


def _tables(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Settings of the catalog that name local files, with the sha256 of their content."""
    for one in _words(recipe.source.model_dump(mode="json")):
        if Path(one).is_file():
            with Path(one).open("rb") as file:
                yield one, hashlib.file_digest(file, "sha256").hexdigest()


def _words(settings: Any) -> Iterator[str]:
    """Every text among settings, those inside lists and mappings too."""
    if isinstance(settings, str):
        yield settings
    elif isinstance(settings, dict | list | tuple):
        for one in settings.values() if isinstance(settings, dict) else settings:
            yield from _words(one)
