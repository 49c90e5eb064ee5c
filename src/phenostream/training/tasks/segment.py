"""`segment`: learn to tell apart the objects of one kind in one channel, at one working scale."""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path  # noqa: TC003  (pydantic reads it)
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn

from phenostream.inference import Image, Output, open_package, read_weights
from phenostream.objects.instances import RULE, Rule, instances, typical_diameter
from phenostream.objects.judge import PREFIX
from phenostream.objects.proposals import propose
from phenostream.objects.resample import resample
from phenostream.objects.trained import (
    PERCENTILES,
    WORKING,
    averaged,
    label_with,
    looked_at,
    shape_at,
    stretched,
)
from phenostream.training.configured import Configured
from phenostream.training.export import write_network
from phenostream.training.losses.segment import map_losses
from phenostream.training.networks.unet import UNet
from phenostream.training.segmentation.augment import cut, grainy, nothing, photograph
from phenostream.training.segmentation.judging import learn, overlaps
from phenostream.training.segmentation.pictures import Picture, hashes, read_pictures
from phenostream.training.segmentation.precision import matches, precision
from phenostream.training.segmentation.targets import HEAVIEST, MAPS, targets
from phenostream.training.segmentation.targets import weights as weights_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from phenostream.inference import Package
    from phenostream.objects.judge import Judge
    from phenostream.objects.trained import Predict

_TOUCHING, _SEEN = 0.35, 0.75  # shares of windows with a contact in them, and with at least an object
_PLACES = 400  # that are kept of each picture
_VIEWS = 2  # as the segmenter's default
_JUDGED = 100  # pictures from which the judge learns, about: more teach it nothing new
_RARE = 0.35  # 0: images of all shapes are drawn alike; 1: each shape as often


class Settings(BaseModel):
    """What is learnt from which images; lengths are in pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path = Field(description="Folder of images/*.tif and masks/*.tif, or of zip files that hold them.")
    start: Path | None = Field(None, description="Package whose weights the network starts from; empty: fresh ones.")
    name: str = Field("nuclei", description="Name of the package.")
    folds: int = Field(5, ge=2, description="Parts into which the images are dealt for cross-validation.")
    fold: int | None = Field(None, ge=0, description="Part kept for validation; empty: all images are learnt from.")
    deal: int = Field(0, ge=0, description="Seed of the dealing.")
    examples: int = Field(2000, ge=1, description="Windows an epoch.")
    side: int = Field(128, ge=32, multiple_of=16, description="Side of a window.")
    diameter: float = Field(WORKING, gt=4, description="Typical diameter at which the network learns objects.")
    shown: float = Field(WORKING, gt=4, description="Typical diameter at which the finished network is shown them.")
    empty: float = Field(0.01, ge=0, lt=1, description="Share of windows with nothing but noise.")
    widths: tuple[int, ...] = Field((32, 64, 128, 192), min_length=2, description="Channels of the network's levels.")
    rule: Rule = Field(RULE, description="How maps become objects without a judge; kept in the package.")

    @model_validator(mode="after")
    def fold_is_one_of_the_folds(self) -> Self:
        """Folds are counted from 0."""
        if self.fold is not None and self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} of {self.folds}: the last is {self.folds - 1}")
        return self


def build(settings: Settings) -> Segmentation:
    """The task of `settings`; images are read when they are first asked for."""
    return Segmentation(settings)


class MapNet(nn.Module):
    """Stretched intensities (N, 1, Y, X) -> logits of the maps (N, 3, Y, X).

    The intensity is seen plain and as its inverse hyperbolic sine, in which nuclei of a tenth and of ten times the
    usual brightness differ alike.
    """

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.unet = UNet(inputs=2, outputs=len(MAPS), widths=widths)

    def forward(self, image: Tensor) -> Tensor:
        """The logits."""
        logits: Tensor = self.unet(torch.cat([image, torch.asinh(20 * image) / 3], dim=1))
        return logits


class Prepared(NamedTuple):
    """One picture at the working scale.

    Attributes:
        image: (1, Y, X) float32, stretched.
        maps: (4, Y, X) uint8: the targets and the weights.
        contacts: places (N, 2) of pixels where objects touch.
        insides: places (N, 2) of pixels in objects.
    """

    image: Tensor
    maps: Tensor
    contacts: NDArray[np.int64]
    insides: NDArray[np.int64]

    def place(self, rng: np.random.Generator) -> tuple[float, float] | None:
        """Where to look next: often where objects touch, or at an object, else anywhere."""
        chance = rng.random()
        wanted = self.contacts if chance < _TOUCHING else self.insides[: None if chance < _SEEN else 0]
        if not len(wanted):
            return None
        y, x = wanted[rng.integers(len(wanted))]
        return float(y), float(x)


class Segmentation(Configured[Settings]):
    """Foreground, depth and contact of the objects of annotated images."""

    def network(self) -> nn.Module:
        """A network with fresh weights, or with those of another package of the same widths."""
        network = MapNet(self.settings.widths)
        if self.settings.start is not None:
            known = read_weights(open_package(self.settings.start)).items()
            own = {name: torch.from_numpy(value) for name, value in known if not name.startswith(PREFIX)}
            network.load_state_dict(own)
        return network

    def __len__(self) -> int:
        """Windows an epoch."""
        return self.settings.examples

    @cached_property
    def pictures(self) -> list[Picture]:
        """All annotated images, sorted by name."""
        return read_pictures(self.settings.data)

    @cached_property
    def parts(self) -> NDArray[np.int64]:
        """The part of each image, 0 to `folds` - 1, dealt at random."""
        told = self.settings
        return np.random.default_rng(told.deal).permutation(len(self.pictures)) % told.folds

    @property
    def kept(self) -> list[Picture]:
        """The images that are not learnt from."""
        return [one for one, part in zip(self.pictures, self.parts, strict=True) if part == self.settings.fold]

    @property
    def learnt(self) -> list[Picture]:
        """The images that are learnt from."""
        return [one for one, part in zip(self.pictures, self.parts, strict=True) if part != self.settings.fold]

    @cached_property
    def _prepared(self) -> tuple[list[Prepared], NDArray[np.float64]]:
        """The images learnt from, and how often each is drawn."""
        ready = [prepare(one, self.settings.diameter) for one in self.learnt]
        return ready, shares([one.image.shape for one in self.learnt], [one.image.numel() for one in ready])

    def example(self, index: int, rng: np.random.Generator) -> Mapping[str, Any]:
        """One window: `image` (1, side, side), `maps` (3, side, side), `weight` (side, side).

        Images are drawn, not counted through.
        """
        del index
        side = self.settings.side
        if rng.random() < self.settings.empty:
            image, maps = nothing(side, rng), torch.zeros(len(MAPS) + 1, side, side)
        else:
            ready, share = self._prepared
            chosen = ready[rng.choice(len(ready), p=share)]
            window, maps = cut(chosen.image, chosen.maps, side, rng, chosen.place(rng))
            image = photograph(window, rng)
        weight = 1 + (HEAVIEST - 1) * maps[-1]
        return {"image": image.numpy(), "maps": maps[:-1].numpy(), "weight": weight.numpy()}

    def loss(self, network: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        """The sum of the maps' losses, and each."""
        told = map_losses(network(batch["image"]), batch["maps"], batch["weight"])
        return torch.stack(list(told.values())).sum(), {name: value.detach() for name, value in told.items()}

    def validate(self, network: nn.Module) -> Mapping[str, float]:
        """Average precision on the images kept, the diameter estimated from each; nothing without such images."""
        if not self.kept:
            return {}
        judge = self.judge(network)
        counts = [matches(one.labels, self.found(network, one.image, judge)) for one in self.kept]
        each, total = precision(np.stack(counts)), precision(np.sum(counts, axis=0)[None])[0]
        return {
            "ap_50": float(each[:, 0].mean()),
            "ap_mean": float(each.mean()),
            "pooled_ap_50": float(total[0]),
            "pooled_ap_mean": float(total.mean()),
        }

    def found(self, network: nn.Module, image: NDArray[Any], judge: Judge | None = None) -> NDArray[np.int32]:
        """What `network` finds in `image` (Y, X)."""
        told = self.settings
        return label_with(_predict(network), image, working=told.shown, rule=told.rule, judge=judge)

    def judge(self, network: nn.Module) -> Judge | None:
        """What tells which proposals in the maps of `network` are objects, learnt from some of the same images.

        Every other one is seen with noise.
        Maps of these are no better than those of others: the network is too small and too little trained for that.
        None where nothing is proposed.
        """
        told = self.settings
        facts, found = [], []
        for number, one in enumerate(self.learnt[:: math.ceil(len(self.learnt) / _JUDGED)]):
            image = grainy(one.image, np.random.default_rng(number)) if number % 2 else one.image
            scaled = stretched(image)
            if scaled is not None:
                seen = looked_at(
                    _predict(network),
                    scaled,
                    None,
                    working=told.shown,
                    understood=lambda maps, size: instances(maps, size, told.rule),
                )
                proposals = propose(seen.maps, scaled, seen.diameter)
                facts.append(proposals.facts)
                found.append(overlaps(proposals, one.labels))
        return learn(facts, found) if any(len(one) for one in found) else None

    def data(self) -> Mapping[str, str]:
        """Hashes of the files learnt from, and of the package started from."""
        start = {} if self.settings.start is None else {"start": open_package(self.settings.start).sha256}
        return {**hashes(self.settings.data), **start}

    def export(
        self, network: nn.Module, folder: Path, *, training: Mapping[str, Any], metrics: Mapping[str, float]
    ) -> Package:
        """Write the package; its graph takes stretched intensities and gives maps of 0 to 1.

        Kernels are rounded to half precision, in the graph as well as in the file of weights: half the bytes to ship.
        """
        weights = stored(network)
        network.load_state_dict(weights)
        judge = self.judge(network)
        judging = judge.tensors() if judge else {}
        unet: UNet = network.unet  # type: ignore[assignment]
        graph = nn.Sequential(network, nn.Sigmoid()).eval()
        side = unet.stride * (2 * unet.halo // unet.stride + 2)
        test = torch.linspace(0, 4, side * side).reshape(1, 1, side, side).sin() ** 2
        told = self.settings
        return write_network(
            graph,
            folder,
            test=test.numpy(),
            outputs=[Output("maps", MAPS, halo=unet.halo, description="Each 0 to 1.")],
            dynamic={0: "n", 2: "y", 3: "x"},
            weights=weights | {name: torch.from_numpy(value) for name, value in judging.items()},
            name=told.name,
            description="Nuclei in fluorescence images: foreground, depth and contact maps from which objects are cut.",
            image=Image(["intensity"], stride=unet.stride),
            training=training,
            metrics=metrics,
            settings={
                "diameter_px": told.shown,
                "percentiles": list(PERCENTILES),
                "rule": told.rule._asdict(),
                "widths": list(told.widths),
            },
            tags=["fluorescence", "nuclei", "segmentation"],
            replace=True,
        )


def _predict(network: nn.Module) -> Predict:
    """The maps of `network` for intensities (Y, X), averaged over as many views as the segmenter takes."""

    def predict(plane: NDArray[np.float32]) -> NDArray[np.float32]:
        unet: UNet = network.unet  # type: ignore[assignment]
        fill = [(0, -length % unet.stride) for length in plane.shape]
        tensor = torch.from_numpy(np.pad(plane, fill, mode="reflect"))[None, None]
        with torch.no_grad():
            maps = network(tensor.to(next(network.parameters()).device)).float().sigmoid()[0].cpu().numpy()
        return np.asarray(maps[:, : plane.shape[0], : plane.shape[1]], np.float32)

    return averaged(predict, _VIEWS)


def stored(network: nn.Module) -> dict[str, Tensor]:
    """The weights of `network`, its kernels in half precision; means and variances keep theirs."""
    return {name: value.half() if value.ndim > 1 else value for name, value in network.state_dict().items()}


def prepare(picture: Picture, diameter: float) -> Prepared:
    """`picture` at the scale at which its typical diameter is `diameter` pixels."""
    own = typical_diameter(picture.labels) or diameter
    shape = shape_at(picture.image.shape, diameter / own)
    scaled = stretched(picture.image)
    plane = np.zeros(shape, np.float32) if scaled is None else resample(scaled, shape)
    weight = (weights_of(picture.labels) - 1) / (HEAVIEST - 1)
    maps = np.stack([resample(one, shape) for one in (*targets(picture.labels, own), weight)])
    rng = np.random.default_rng(0)
    contacts, insides = (_some(np.argwhere(where), rng) for where in (maps[2] > 0.4, maps[0] > 0.5))
    coded = torch.from_numpy(np.rint(255 * maps).astype(np.uint8))
    return Prepared(torch.from_numpy(plane)[None], coded, contacts, insides)


def _some(places: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    return places[rng.permutation(len(places))[:_PLACES]]


def shares(shapes: list[tuple[int, ...]], areas: list[int]) -> NDArray[np.float64]:
    """How often each image is drawn: those of rare shapes (other cameras) and those that show more, more often."""
    known = {shape: shapes.count(shape) for shape in shapes}
    rare = np.array([known[shape] ** -_RARE for shape in shapes])
    area = np.sqrt(np.asarray(areas) / np.median(areas)).clip(0.5, 1.5)
    return np.asarray(rare * area / (rare * area).sum(), np.float64)
