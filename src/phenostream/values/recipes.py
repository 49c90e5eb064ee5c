"""Recipes as they are written: a mapping in a YAML file, settings as they are typed, and what a model refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from phenostream.errors import NotFoundError, RecipeError

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import ValidationError

_MOST_BYTES = 1 << 20


def read(path: Path, *, start: str, remedy: str = "give the path of a YAML file") -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Args:
        path: of the file.
        start: what such a recipe begins with, for the remedy of one that does not.
        remedy: where there is no file.

    Raises:
        NotFoundError: no such file.
        RecipeError: over 1 MiB, not YAML, or no mapping.
    """
    if not path.is_file():
        raise NotFoundError(f"no recipe at {path}", remedy=remedy)
    if path.stat().st_size > _MOST_BYTES:
        raise RecipeError(f"{path} is over 1 MiB", remedy="is this a recipe?")
    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(told, dict):
        raise RecipeError(f"{path} is not a mapping", remedy=f"start it with {start}")
    return told


def typed(text: str, *, what: str = "the setting", example: str = "key=value") -> tuple[str, Any]:
    """Key and value of ``key=value``; the value is YAML.

    Raises:
        RecipeError: no ``=``, no key, or a value that is no YAML; the message says `what` it is of, and an `example`.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"cannot read {what} {text!r}", remedy=f"write it as {example}")
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise RecipeError(f"cannot read the value of {what} {text!r}", remedy="quote it") from error


def override(mapping: dict[str, Any], text: str, *, example: str) -> None:
    """Set in `mapping` what ``a.b=c`` says; mappings inside it are copied, so that those of a caller do not change.

    Raises:
        RecipeError: as :func:`typed`, or a key on the way that holds something else than keys.
    """
    keys, value = typed(text, what="the override", example=example)
    *parents, last = keys.split(".")
    for parent in parents:
        inner = mapping.get(parent) or {}
        if not isinstance(inner, dict):
            raise RecipeError(f"override {text!r}: {parent} holds no keys")
        mapping[parent] = dict(inner)
        mapping = mapping[parent]
    mapping[last] = value


def faults(error: ValidationError, *, whole: str = "", most: int | None = None) -> str:
    """What a model refuses, in one line: dotted key and reason of the first `most` faults.

    `whole` names the place of a fault that is of no key.
    """
    told = error.errors(include_url=False)[:most]
    return "; ".join(f"{'.'.join(map(str, one['loc'])) or whole}: {one['msg']}" for one in told)
