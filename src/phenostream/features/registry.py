"""Which feature families there are: the modules of the folder ``families``, and those that other packages offer."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Protocol, cast

from phenostream.errors import RecipeError
from phenostream.features import volumes
from phenostream.values.plugs import Plugs

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from pydantic import BaseModel

    from phenostream.features.scene import Scene
    from phenostream.values import Column

GROUP = "phenostream.measures"
_PLUGS = Plugs("phenostream.features.families", GROUP, "feature family")


class Family(Protocol):
    """What a module must offer to be a feature family."""

    Settings: type[BaseModel]
    VERSION: int

    def columns(self, settings: BaseModel, channels: Sequence[str]) -> list[Column]:
        """What is measured, in order; names without compartment."""
        ...

    def compute(self, scene: Scene, settings: BaseModel) -> NDArray[np.float64]:
        """The numbers (objects, columns), rows by ascending label; NaN where an object does not define one."""
        ...


def names() -> tuple[str, ...]:
    """All families, sorted."""
    return _PLUGS.names()


@cache
def family(name: str) -> Family:
    """The family called `name`. Raises RecipeError with the known names where there is none."""
    return cast("Family", _PLUGS.load(name))


@cache
def in_volumes(name: str) -> Family:
    """The family called `name` for volumes. Raises RecipeError where it is measured in two dimensions only."""
    if name in volume_names():
        return import_module(f"{volumes.__name__}.{name}")
    family(name)
    raise RecipeError(
        f"{name} is measured in two dimensions only", remedy=f"for volumes choose among {', '.join(volume_names())}"
    )


def volume_names() -> tuple[str, ...]:
    """All families that are measured in three dimensions, sorted."""
    return tuple(sorted(module.name for module in iter_modules(volumes.__path__) if module.name in names()))
