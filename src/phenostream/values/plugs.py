"""The folder is the registry: what a package offers is the modules that lie in it, and entry points from outside."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules
from typing import TYPE_CHECKING, cast

from phenostream.errors import RecipeError

if TYPE_CHECKING:
    from types import ModuleType


@dataclass(frozen=True, slots=True)
class Plugs:
    """The modules of one kind of plug.

    Attributes:
        package: dotted name of the package whose modules are the plugs.
        group: entry-point group in which other distributions announce theirs; each entry point names a module.
        noun: what one of them is called in messages (``catalog``).
    """

    package: str
    group: str
    noun: str

    def names(self) -> tuple[str, ...]:
        """Every name that `load` knows, sorted; nothing is imported."""
        outside = {point.name for point in entry_points(group=self.group)}
        return tuple(sorted(name for name in self._own() | outside if not name.startswith("_")))

    def load(self, name: object) -> ModuleType:
        """The module named `name`. Raises RecipeError with the known names. Modules of the package come first."""
        if name in self._own():
            return import_module(f"{self.package}.{name}")
        for point in entry_points(group=self.group):
            if point.name == name:
                return cast("ModuleType", point.load())
        raise RecipeError(f"there is no {self.noun} {name!r}", remedy=f"name one of: {', '.join(self.names())}")

    def _own(self) -> set[str]:
        path = import_module(self.package).__path__
        return {found.name for found in iter_modules(path) if not found.name.startswith("_")}
