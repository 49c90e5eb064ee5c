"""Features: from labels and pixels to one row of numbers an object.

A family is a module of :mod:`phenostream.features.families`; its file name is what ``families`` names in a recipe.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phenostream.features.measuring import measure, warm
    from phenostream.features.presets import MITOCHECK_157, select
    from phenostream.features.settings import MeasureSettings

__all__ = ["MITOCHECK_157", "MeasureSettings", "measure", "select", "warm"]

# Looked up on first use: the compiler behind the families takes half a second to import.
_HOMES = {
    "MITOCHECK_157": "phenostream.features.presets",
    "MeasureSettings": "phenostream.features.settings",
    "measure": "phenostream.features.measuring",
    "select": "phenostream.features.presets",
    "warm": "phenostream.features.measuring",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'phenostream.features' has no attribute {name!r}")
