"""Features: from labels and pixels to one row of numbers an object, classical or by a model.

A family is a module of :mod:`phenostream.features.families`; its file name is what ``families`` names in a recipe.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phenostream.features.deep.embedding import Embedder, beside, embed, embed_crops, embed_table
    from phenostream.features.deep.settings import CropSettings, DeepSettings
    from phenostream.features.measuring import measure, warm
    from phenostream.features.presets import MITOCHECK_157, select
    from phenostream.features.settings import MeasureSettings

__all__ = [
    "MITOCHECK_157",
    "CropSettings",
    "DeepSettings",
    "Embedder",
    "MeasureSettings",
    "beside",
    "embed",
    "embed_crops",
    "embed_table",
    "measure",
    "select",
    "warm",
]

# Looked up on first use: the compiler behind the families takes half a second to import.
_HOMES = {
    "CropSettings": "phenostream.features.deep.settings",
    "DeepSettings": "phenostream.features.deep.settings",
    "Embedder": "phenostream.features.deep.embedding",
    "beside": "phenostream.features.deep.embedding",
    "embed": "phenostream.features.deep.embedding",
    "embed_crops": "phenostream.features.deep.embedding",
    "embed_table": "phenostream.features.deep.embedding",
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
