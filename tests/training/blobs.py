"""A task that is no task of the product's: dim or bright blobs, small or large, told apart by a few convolutions."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import nn
from torch.nn import functional

from phenostream.training import Task


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    examples: int = 64
    width: int = 6
    norm: Literal["batch", "group"] = "batch"
    dropout: float = 0.1
    poison: int = -1


def build(settings: Settings) -> Blobs:
    return Blobs(settings)


def blob(kind: int, rng: np.random.Generator) -> np.ndarray:
    """A disc of radius 2 or 4 somewhere in 16 x 16 pixels of noise."""
    y, x = np.mgrid[:16, :16]
    cy, cx = rng.uniform(5, 11, 2)
    disc = (y - cy) ** 2 + (x - cx) ** 2 < (2 + 2 * kind) ** 2
    return (rng.uniform(1.5, 2.5) * disc + rng.normal(0, 0.3, disc.shape)).astype(np.float32)[None]


class Blobs(Task):
    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @property
    def settings(self) -> Settings:
        return self._settings

    def network(self) -> nn.Module:
        width = self._settings.width
        norm = nn.BatchNorm2d(width) if self._settings.norm == "batch" else nn.GroupNorm(2, width)
        return nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1), norm, nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(self._settings.dropout), nn.Linear(width, 2),
        )  # fmt: skip

    def __len__(self) -> int:
        return self._settings.examples

    def example(self, index: int, rng: np.random.Generator) -> dict[str, object]:
        image = blob(index % 2, rng)
        return {"image": image * np.float32(np.nan) if index == self._settings.poison else image, "kind": index % 2}

    def loss(self, network, batch):
        scores = network(batch["image"])
        right = (scores.argmax(1) == batch["kind"]).float().mean()
        return functional.cross_entropy(scores, batch["kind"]), {"accuracy": right}

    def validate(self, network):
        kinds = torch.arange(40) % 2
        images = torch.from_numpy(np.stack([blob(n % 2, np.random.default_rng([99, n])) for n in range(40)]))
        scores = network(images.to(next(network.parameters()).device)).cpu()
        return {
            "accuracy": float((scores.argmax(1) == kinds).float().mean()),
            "entropy": float(functional.cross_entropy(scores, kinds)),
        }

    def data(self) -> dict[str, str]:
        return {"generated": f"{self._settings.examples:064x}"}

    def export(self, network, folder, *, training, metrics):
        from phenostream.inference import Image, Output, write_package
        from phenostream.training import to_onnx

        sample = torch.from_numpy(np.stack([blob(n, np.random.default_rng(n)) for n in range(2)]))
        with torch.no_grad():
            wanted = network(sample).numpy()
        return write_package(
            folder,
            name="blobs",
            description="Tells small blobs from large ones.",
            onnx=to_onnx(network, [sample], outputs=["kind"], dynamic={"image": {0: "batch"}}),
            weights={name: tensor.numpy() for name, tensor in network.state_dict().items()},
            image=Image(["DNA"], size=16),
            outputs=[Output("kind", ["small", "large"], ratio=None)],
            test_input=sample.numpy(),
            test_output={"kind": wanted},
            training=training,
            metrics=dict(metrics),
        )
