"""Phenotypes: cells of known class in, a classifier out; applied to tables of any size. Packages hold no pickles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phenostream.lazy import on_first_use

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

__getattr__ = on_first_use(
    __name__,
    {
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
    },
)
