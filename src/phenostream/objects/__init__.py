"""Objects: from a field's pixels to labels, and from labels to outlines, crops and boxes.

A segmenter is a module of :mod:`phenostream.objects.segmenters`; its name is what ``model`` says in a recipe.
"""

from __future__ import annotations

from phenostream.objects.compartments import CellSettings, cells, compartments
from phenostream.objects.crops import crops
from phenostream.objects.geometry import boxes, centroids, touching_edge
from phenostream.objects.labels import cytoplasm, expand, matched, relabel, remove_edge_objects
from phenostream.objects.outlines import outlines
from phenostream.objects.plug import (
    Segmenter,
    SegmenterSettings,
    build,
    for_one_core,
    forget,
    memory_of,
    names,
    run,
    schema,
    settings,
)
from phenostream.objects.segmentation import segment

__all__ = [
    "CellSettings",
    "Segmenter",
    "SegmenterSettings",
    "boxes",
    "build",
    "cells",
    "centroids",
    "compartments",
    "crops",
    "cytoplasm",
    "expand",
    "for_one_core",
    "forget",
    "matched",
    "memory_of",
    "names",
    "outlines",
    "relabel",
    "remove_edge_objects",
    "run",
    "schema",
    "segment",
    "settings",
    "touching_edge",
]
