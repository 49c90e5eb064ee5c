"""Where packages lie: in the wheel, in folders of ``PHENOSTREAM_MODELS``, and in the user's data folder."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from phenostream.errors import NotFoundError, RecipeError
from phenostream.inference.package import RDF, Package, open_package

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["find", "names", "places", "user_folder"]

SHIPPED = Path(__file__).parent / "shipped"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def user_folder() -> Path:
    """Where imported packages go: ``$PHENOSTREAM_HOME/models``, else the user's data folder (XDG)."""
    if told := os.environ.get("PHENOSTREAM_HOME"):
        return Path(told) / "models"
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "phenostream" / "models"


def places() -> list[Path]:
    """Folders that hold packages, the first to know a name wins: no folder can stand in for a shipped model."""
    told = os.environ.get("PHENOSTREAM_MODELS", "")
    return [SHIPPED, *(Path(one) for one in told.split(os.pathsep) if one), user_folder()]


def names() -> dict[str, Path]:
    """The folder of every package by name; nothing is verified yet."""
    found: dict[str, Path] = {}
    for folder in _folders():
        found.setdefault(folder.name, folder)
    return found


def find(name_or_folder: str | os.PathLike[str]) -> Package:
    """The package of a name, or the one in a folder, verified; see `open_package` for what is refused.

    A name is looked up in the wheel, in the folders of ``PHENOSTREAM_MODELS``, then among the imported ones.
    """
    told = os.fspath(name_or_folder)
    if isinstance(name_or_folder, str) and _NAME.fullmatch(told) and (folder := names().get(told)):
        return open_package(folder, name=told)
    if "\0" not in told and (Path(told) / RDF).is_file():
        return open_package(told)
    known = ", ".join(sorted(names())) or "none"
    raise NotFoundError(f"there is no model {told!r}", remedy=f"give a package's folder, or one of: {known}")


def checked_name(name: str) -> str:
    """`name`, where it can be one. Raises RecipeError."""
    if not _NAME.fullmatch(name):
        raise RecipeError(f"{name!r} cannot be a model's name", remedy="letters, digits, dot, dash and underscore")
    return name


def _folders() -> Iterator[Path]:
    for place in places():
        if place.is_dir():
            yield from sorted(one for one in place.iterdir() if _NAME.fullmatch(one.name) and (one / RDF).is_file())
