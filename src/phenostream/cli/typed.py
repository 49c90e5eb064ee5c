"""Settings as they are typed: ``key=value`` texts, and the models that judge them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from phenostream.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_Kind = TypeVar("_Kind", bound=BaseModel)


def pairs(texts: Iterable[str], *, what: str = "the setting") -> dict[str, Any]:
    """Values by key of ``key=value`` texts; a value is YAML, and of a key that stands twice the last holds.

    Raises:
        RecipeError: no ``=``, no key, or a value that is no YAML; `what` names the option in the message.
    """
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise RecipeError(f"cannot read {what} {text!r}", remedy="write it as key=value")
        try:
            found[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise RecipeError(f"cannot read the value of {what} {text!r}", remedy="quote it") from error
    return found


def settings(kind: type[_Kind], texts: Iterable[str]) -> _Kind:
    """The settings `kind` of ``key=value`` texts. Raises RecipeError with the key, the fault and the keys there are."""
    return checked(kind, pairs(texts), remedy=f"settings: {', '.join(kind.model_fields)}")


def checked(kind: type[_Kind], given: Mapping[str, Any], *, remedy: str = "", dashes: str = "") -> _Kind:
    """The settings `kind` of values. Raises RecipeError with the first fault; `dashes` stand before its key."""
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RecipeError(f"{dashes}{place}: {first['msg']}", remedy=remedy) from error
