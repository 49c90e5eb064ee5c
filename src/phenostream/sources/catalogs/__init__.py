"""Catalogs: what a study holds, and where.

A catalog is a module of this folder (or of the entry-point group ``phenostream.catalogs``) with three names:

* ``Settings``: a frozen pydantic model whose field ``catalog: Literal["<name>"]`` says which catalog it configures;
* ``base(settings) -> str``: root of the store that its keys are relative to (a folder or a URL);
* ``units(settings, store) -> Iterator[Field | Container]``: all that it knows, unselected, in natural order.

and a fourth where it can: ``closed(settings) -> bool`` says that `units` depends on the settings and on the local files
that they name, and on nothing else. A plan of such a catalog is made once and kept; others are asked each time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from phenostream.errors import RecipeError
from phenostream.values import recipes
from phenostream.values.plugs import Plugs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType

    from phenostream.values import Container, Field, Store

__all__ = ["base", "closed", "known", "load", "parse", "units"]

_PLUGS = Plugs("phenostream.sources.catalogs", "phenostream.catalogs", "catalog")


def known() -> tuple[str, ...]:
    """Names of the catalogs, sorted."""
    return _PLUGS.names()


def load(name: str) -> ModuleType:
    """The module of the catalog `name`. Raises RecipeError, which lists the known ones."""
    return _PLUGS.load(name)


def parse(mapping: Mapping[str, Any]) -> BaseModel:
    """The settings that `mapping` describes, of the catalog that its key ``catalog`` names.

    Raises RecipeError: no or unknown catalog (the known ones are listed), unknown key, wrong value.
    """
    name = mapping.get("catalog")
    if not isinstance(name, str):
        raise RecipeError("the source does not say which catalog it uses", remedy=f"catalog: {' | '.join(known())}")
    model: type[BaseModel] = load(name).Settings
    try:
        return model.model_validate(dict(mapping))
    except ValidationError as error:
        told = recipes.faults(error, whole="it")
        keys = ", ".join(model.model_fields)
        raise RecipeError(f"source of catalog {name!r}: {told}", remedy=f"its keys are: {keys}") from error


def units(settings: BaseModel, store: Store) -> Iterator[Field | Container]:
    """Everything that the catalog of `settings` knows, unselected, in natural order; keys are relative to `store`."""
    found: Iterator[Field | Container] = _of(settings).units(settings, store)
    return found


def base(settings: BaseModel) -> str:
    """Folder or URL that the keys of the catalog of `settings` are relative to."""
    root: str = _of(settings).base(settings)
    return root


def closed(settings: BaseModel) -> bool:
    """Whether the catalog of `settings` depends on them and on the local files that they name alone."""
    told = getattr(_of(settings), "closed", None)
    return told is not None and bool(told(settings))


def _of(settings: BaseModel) -> ModuleType:
    return load(str(getattr(settings, "catalog", "")))
