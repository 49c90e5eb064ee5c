"""Loading packed screens: batches in any order, shared out to processes, resumed anywhere, read ahead by threads."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from phenostream.datasets.loading.augmenting import Augmentation, Transform
from phenostream.datasets.loading.batches import Batch, Batches, batches
from phenostream.datasets.loading.normalising import Normalisation, normalisation
from phenostream.datasets.loading.orders import Balanced, Groups, InOrder, Shuffled, Windows
from phenostream.datasets.loading.settings import LoadSettings
from phenostream.datasets.loading.steps import Share, State

if TYPE_CHECKING:
    from phenostream.datasets.loading.tensors import SiteDataset, TorchLoader, torch_dataset, torch_loader

__all__ = [
    "Augmentation",
    "Balanced",
    "Batch",
    "Batches",
    "Groups",
    "InOrder",
    "LoadSettings",
    "Normalisation",
    "Share",
    "Shuffled",
    "SiteDataset",
    "State",
    "TorchLoader",
    "Transform",
    "Windows",
    "batches",
    "normalisation",
    "torch_dataset",
    "torch_loader",
]

_TORCH = {"SiteDataset", "TorchLoader", "torch_dataset", "torch_loader"}


# PyTorch is loaded by whoever asks for tensors.
def __getattr__(name: str) -> Any:
    if name in _TORCH:
        return getattr(import_module(f"{__name__}.tensors"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
