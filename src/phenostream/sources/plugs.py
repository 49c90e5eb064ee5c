"""The folder is the registry: what a package offers is the modules that lie in it, and entry points from outside."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module, metadata
from pkgutil import iter_modules
from typing import TYPE_CHECKING

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
        own = {found.name for found in iter_modules(import_module(self.package).__path__)}
        outside = {point.name for point in metadata.entry_points(group=self.group)}
        return tuple(sorted(name for name in own | outside if not name.startswith("_")))

    def load(self, name: str) -> ModuleType:
        """The module named `name`. Raises RecipeError with the known names. Modules of the package come first."""
        if name not in self.names():
            known = ", ".join(self.names())
            raise RecipeError(f"there is no {self.noun} {name!r}", remedy=f"name one of: {known}")
        if any(found.name == name for found in iter_modules(import_module(self.package).__path__)):
            return import_module(f"{self.package}.{name}")
        (point, *_) = metadata.entry_points(group=self.group, name=name)
        module: ModuleType = point.load()
        return module
