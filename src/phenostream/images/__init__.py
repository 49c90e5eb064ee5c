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

__all__ = [
    "VERSION",
    "BasicOptions",
    "IlluminationModel",
    "IlluminationSettings",
    "fit_illumination",
    "idrstream",
    "shrink",
]
