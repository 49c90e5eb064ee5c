"""Features: from labels and pixels to one row of numbers an object, classical or by a model.

A family is a module of :mod:`phenostream.features.families`; its file name is what ``families`` names in a recipe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from phenostream.lazy import on_first_use

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
__getattr__ = on_first_use(
    __name__,
    {
        "CropSettings": "deep.settings",
        "DeepSettings": "deep.settings",
        "Embedder": "deep.embedding",
        "beside": "deep.embedding",
        "embed": "deep.embedding",
        "embed_crops": "deep.embedding",
        "embed_table": "deep.embedding",
        "MITOCHECK_157": "presets",
        "MeasureSettings": "settings",
        "measure": "measuring",
        "select": "presets",
        "warm": "measuring",
    },
)
