"""Settings as they are typed: ``key=value`` texts, and the models that judge them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from phenostream.errors import RecipeError
from phenostream.values import recipes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_Kind = TypeVar("_Kind", bound=BaseModel)


def pairs(texts: Iterable[str], *, what: str = "the setting") -> dict[str, Any]:
    """Values by key of ``key=value`` texts; a value is YAML, and of a key that stands twice the last holds.

    Raises:
        RecipeError: no ``=``, no key, or a value that is no YAML; `what` names the option in the message.
    """
    return dict(recipes.typed(text, what=what) for text in texts)


def settings(kind: type[_Kind], texts: Iterable[str]) -> _Kind:
    """The settings `kind` of ``key=value`` texts. Raises RecipeError with the key, the fault and the keys there are."""
    return checked(kind, pairs(texts), remedy=f"settings: {', '.join(kind.model_fields)}")


def checked(kind: type[_Kind], given: Mapping[str, Any], *, remedy: str = "", dashes: str = "") -> _Kind:
    """The settings `kind` of values. Raises RecipeError with the first fault; `dashes` stand before its key."""
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise RecipeError(f"{dashes}{recipes.faults(error, most=1)}", remedy=remedy) from error
