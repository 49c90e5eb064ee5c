"""Generated plates, movies and archives with exact ground truth: for tests, benchmarks and the demonstration."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phenostream.synthetic.archive import Archive, write_archive
    from phenostream.synthetic.camera import Camera, Optics
    from phenostream.synthetic.cells import Population
    from phenostream.synthetic.demo import demo_archive
    from phenostream.synthetic.nuclei import Scene, field
    from phenostream.synthetic.plates import Design, scenes, wells
    from phenostream.synthetic.screen import ScreenDesign, write_screen
    from phenostream.synthetic.serve import RangeServer

__all__ = [
    "Archive",
    "Camera",
    "Design",
    "Optics",
    "Population",
    "RangeServer",
    "Scene",
    "ScreenDesign",
    "demo_archive",
    "field",
    "scenes",
    "wells",
    "write_archive",
    "write_screen",
]

_MODULES = {
    "Archive": "archive",
    "Camera": "camera",
    "Design": "plates",
    "Optics": "camera",
    "Population": "cells",
    "RangeServer": "serve",
    "Scene": "nuclei",
    "ScreenDesign": "screen",
    "demo_archive": "demo",
    "field": "nuclei",
    "scenes": "plates",
    "wells": "plates",
    "write_archive": "archive",
    "write_screen": "screen",
}


# Looked up on first use: the command line imports this room for the name of the demonstration only.
def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
