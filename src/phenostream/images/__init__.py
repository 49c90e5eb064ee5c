"""Arrays in, arrays out: illumination, image quality, and pictures for people."""

from phenostream.images._basic import BasicOptions
from phenostream.images.idrstream import idrstream
from phenostream.images.illumination import (
    VERSION,
    IlluminationModel,
    IlluminationSettings,
    fit_illumination,
    shrink,
)
from phenostream.images.quality import power_slope, quality
from phenostream.images.render import COLOURS, composite, default_colours, draw_outlines, thumbnail, to_8bit
from phenostream.images.stains import CELL_PAINTING, RXRX1, Stain, stained

__all__ = [
    "CELL_PAINTING",
    "COLOURS",
    "RXRX1",
    "VERSION",
    "BasicOptions",
    "IlluminationModel",
    "IlluminationSettings",
    "Stain",
    "composite",
    "default_colours",
    "draw_outlines",
    "fit_illumination",
    "idrstream",
    "power_slope",
    "quality",
    "shrink",
    "stained",
    "thumbnail",
    "to_8bit",
]
