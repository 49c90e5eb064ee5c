"""`embed`: learn without labels to tell cells apart by what does not change between two views of one."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path  # noqa: TC003  (pydantic reads it)
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from phenostream.inference import Image, Output
from phenostream.training.configured import Configured
from phenostream.training.embedding.cells import Source, hashes, read_crops
from phenostream.training.embedding.views import ViewSettings, view
from phenostream.training.export import licence_text, write_network
from phenostream.training.losses.contrastive import contrastive
from phenostream.training.networks import cellnet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from phenostream.inference import Package

#: Side in pixels of the crops that views are taken from: a view turned by any angle finds its corners there.
_READ = 96
# Every so many crops one is kept for validation.
_KEPT = 40


class Settings(BaseModel):
    """What is learnt from which cells; lengths are in pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path = Field(description="folder that the sources lie in")
    sources: tuple[Source, ...] = Field(min_length=1, description="where crops come from")
    name: str = Field("cellnet", description="name of the package")
    version: str = Field("1.0.0", description="version of the package")
    licence: str = Field("CC-BY-4.0", description="SPDX identifier of the weights")
    attribution: str = Field("", description="what the licences of the data want to be said")
    examples: int = Field(19200, ge=1, description="crops an epoch")
    diameter: float = Field(27.0, gt=4, description="at which the median object of an image is shown")
    network: cellnet.Settings = Field(default_factory=cellnet.Settings, description="shape of the network")
    projection: int = Field(128, ge=2, description="numbers in which views are compared")
    temperature: float = Field(0.15, gt=0, description="of the comparison")
    views: ViewSettings = Field(default_factory=ViewSettings, description="how much two views differ")
    turns: Literal[1, 2, 4, 8] = Field(1, description="symmetries of the square over which the package averages")


def build(settings: Settings) -> Embedding:
    """The task of `settings`; images are read when they are first asked for."""
    return Embedding(settings)


class Projected(nn.Module):
    """The network with the head in whose output views are compared; the head is left behind."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.network = cellnet.CellNet(settings.network)
        width = self.network.width
        self.head = nn.Sequential(
            nn.Linear(width, 512, bias=False),
            nn.BatchNorm1d(512),
            nn.ReLU(),
            nn.Linear(512, settings.projection, bias=False),
        )

    def forward(self, crops: Tensor) -> Tensor:
        """(N, 1, Y, X) to (N, projection)."""
        projected: Tensor = self.head(self.network(crops).float())
        return projected


class Embedding(Configured[Settings]):
    """Contrastive learning on single-cell crops."""

    def network(self) -> nn.Module:
        """A network with fresh weights."""
        return Projected(self.settings)

    def __len__(self) -> int:
        """Crops an epoch."""
        return self.settings.examples

    @cached_property
    def crops(self) -> list[NDArray[np.uint8]]:
        """The crops (N, 96, 96) of each source."""
        told = self.settings
        return [read_crops(told.data, source, side=_READ, diameter=told.diameter) for source in told.sources]

    def example(self, index: int, rng: np.random.Generator) -> Mapping[str, Any]:
        """One crop (1, 96, 96) uint8. Sources are drawn by their shares, crops within each alike."""
        del index
        shares = np.array([source.share for source in self.settings.sources])
        crops = self.crops[rng.choice(len(shares), p=shares / shares.sum())]
        place = int(rng.integers(len(crops)))
        place -= int(place % _KEPT == 0 and len(crops) > 1) * (1 if place else -1)
        return {"crop": crops[place][None]}

    def loss(self, network: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        """The contrastive loss of two views of each crop, and the share of views that find their partner."""
        loss, found = self._compared(network, batch["crop"])
        return loss, {"found": found.detach()}

    def validate(self, network: nn.Module) -> Mapping[str, float]:
        """The same on crops kept from training."""
        kept = np.concatenate([crops[::_KEPT] for crops in self.crops])[:, None]
        device = next(network.parameters()).device
        loss, found = self._compared(network, torch.from_numpy(kept).to(device))
        return {"loss": float(loss), "found": float(found)}

    def data(self) -> Mapping[str, str]:
        """SHA-256 of every file that was learnt from."""
        return hashes(self.settings.data, self.settings.sources)

    def export(
        self, network: nn.Module, folder: Path, *, training: Mapping[str, Any], metrics: Mapping[str, float]
    ) -> Package:
        """Write the network without its head as a package."""
        told = self.settings
        inner = network.get_submodule("network")
        whole = cellnet.Described(inner, told.turns).eval()  # type: ignore[arg-type]
        width = told.network.widths[-1]
        return write_network(
            whole,
            folder,
            test=_examples(cellnet.SIDE),
            outputs=[Output("embedding", (*(str(i) for i in range(width)), "log_range", "log_mean"), ratio=None)],
            dynamic={0: "n"},
            name=told.name,
            version=told.version,
            title=f"Embedding of single cells ({told.name})",
            description=f"A crop of {cellnet.SIDE} pixels around a cell to {width} numbers that hardly depend on "
            "its orientation and on gain, offset and gamma of the camera, and the logarithms of its range and mean.",
            image=Image(("grey",), size=cellnet.SIDE),
            training=training,
            metrics=metrics,
            licence=told.licence,
            licence_text=licence_text(told.licence, told.attribution),
            settings={"crops": {"box_px": cellnet.SIDE}, "diameter_px": told.diameter, "column": told.name},
            cite=[{"text": "Chen et al., SimCLR, 2020", "url": "https://arxiv.org/abs/2002.05709"}],
            tags=["embedding", "self-supervised", "nucleus"],
            replace=True,
        )

    def _compared(self, network: nn.Module, crops: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(crops.device.type, enabled=False):
            whole = crops.float() / 255
            views = torch.cat([view(whole, cellnet.SIDE, self.settings.views) for _ in range(2)])
        first, second = network(views.contiguous(memory_format=torch.channels_last)).chunk(2)
        return contrastive(first, second, self.settings.temperature)


def _examples(side: int) -> NDArray[np.float32]:
    """Four made-up nuclei (4, 1, side, side) in 0..1: ellipses of several sizes with an edge a few pixels wide."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    shapes = [(8, 8, 0.0), (13, 9, 0.5), (11, 16, 1.2), (5, 14, 2.2)]
    turned = [(x * np.cos(a) + y * np.sin(a), y * np.cos(a) - x * np.sin(a)) for _, _, a in shapes]
    images = [
        1 / (1 + np.exp(8 * (np.hypot(u / p, v / q) - 1))) for (u, v), (p, q, _) in zip(turned, shapes, strict=True)
    ]
    return (0.1 + 0.6 * np.stack(images)[:, None]).astype(np.float32)
