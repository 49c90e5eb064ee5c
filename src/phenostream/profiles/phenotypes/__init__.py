"""Phenotypes: cells of known class in, a classifier out; applied to tables of any size. Packages hold no pickles."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phenostream.profiles.phenotypes.classifier import Classifier, train
    from phenostream.profiles.phenotypes.crops import Crops, CropTable, read_crops
    from phenostream.profiles.phenotypes.describing import DescribeSettings, describe
    from phenostream.profiles.phenotypes.labels import Labelled, labelled
    from phenostream.profiles.phenotypes.package import load, save
    from phenostream.profiles.phenotypes.splitting import splits

__all__ = [
    "Classifier",
    "CropTable",
    "Crops",
    "DescribeSettings",
    "Labelled",
    "describe",
    "labelled",
    "load",
    "read_crops",
    "save",
    "splits",
    "train",
]

_MODULES = {
    "Classifier": "classifier",
    "CropTable": "crops",
    "Crops": "crops",
    "DescribeSettings": "describing",
    "Labelled": "labels",
    "describe": "describing",
    "labelled": "labels",
    "load": "package",
    "read_crops": "crops",
    "save": "package",
    "splits": "splitting",
    "train": "classifier",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"phenostream.profiles.phenotypes.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'phenostream.profiles.phenotypes' has no attribute {name!r}")
