"""phenostream: microscopy in, comparable numbers out, on the disk you have.

The functions here take arrays and give arrays or Arrow tables; the command line and recipes are built on the same.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from phenostream.features import embed, measure
    from phenostream.images import fit_illumination
    from phenostream.objects import segment
    from phenostream.profiles import read_profiles
    from phenostream.report import run

__all__ = ["__version__", "embed", "fit_illumination", "measure", "read_profiles", "run", "segment"]

# Looked up on first use, so that importing the package costs next to nothing.
_ROOMS = {
    "segment": "phenostream.objects",
    "measure": "phenostream.features",
    "embed": "phenostream.features",
    "fit_illumination": "phenostream.images",
    "run": "phenostream.report",
    "read_profiles": "phenostream.profiles",
}


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return getattr(import_module(_ROOMS[name]), name)
    raise AttributeError(f"module 'phenostream' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
