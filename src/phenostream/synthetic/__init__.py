"""Generated plates, movies and archives with exact ground truth: for tests, benchmarks and the demonstration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phenostream.lazy import on_first_use

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

# Looked up on first use: the command line imports this room for the name of the demonstration only.
__getattr__ = on_first_use(
    __name__,
    {
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
    },
)
