"""`classify`: tell perturbations apart by the images of their sites, so that it holds on experiments never seen."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from phenostream.errors import PhenostreamError
from phenostream.inference import Image, Output
from phenostream.training.classification import backbones
from phenostream.training.classification.feeding import Feed, SamplerSettings
from phenostream.training.classification.network import Classifier, Exported, Normalisation, Normalise
from phenostream.training.classification.sites import Sites, open_sites
from phenostream.training.classification.splits import SplitSettings, Where, texts
from phenostream.training.classification.views import ViewSettings, cutmix, forgotten, noisy
from phenostream.training.configured import Configured
from phenostream.training.export import licence_text, write_network
from phenostream.training.losses.classify import cross_entropy, mixed
from phenostream.training.losses.metric import ArcFace, supervised_contrastive

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from phenostream.inference import Package
    from phenostream.training.devices import Team
    from phenostream.training.order import Order

# The shortest side that a field may have: below it the deepest stage would see nothing but its padding.
_LEAST_SIDE = 32


class MetricSettings(BaseModel):
    """The loss on embeddings beside the cross-entropy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["arcface", "contrastive", "none"] = Field("arcface", description="which; none: cross-entropy alone")
    weight: float = Field(0.2, ge=0, le=1, description="its share of the loss; the cross-entropy has the rest")
    scale: float = Field(30.0, gt=0, description="arcface: what cosines are multiplied with")
    margin: float = Field(0.5, ge=0, lt=1.5, description="arcface: what is added to the true angle, rad")
    temperature: float = Field(0.1, gt=0, description="contrastive: what cosines are divided by")


class Settings(BaseModel):
    """What is learnt from which sites."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pack: str = Field(min_length=1, description="folder or URL of the packed screen")
    label: str = Field("sirna_id", description="column of the classes")
    where: Where = Field(
        default_factory=dict, description="sites that take part: column to value or values; empty: all"
    )
    channels: tuple[str, ...] = Field((), description="channels by name, in this order; none: all")
    condition: str = Field("", description="column that the network is told besides the image (cell_type); empty: none")
    forget: float = Field(0.1, ge=0, le=1, description="share of images for which it is not told, in training")
    split: SplitSettings = Field(default_factory=SplitSettings, description="which sites are kept from training")
    sampler: SamplerSettings = Field(default_factory=SamplerSettings, description="which sites come in which batch")
    normalise: Normalisation = Field(
        "site", description="by the moments of each image, of its plate, or of all: site, plate or screen"
    )
    network: str = Field("resnet", description="backbone: a module of the folder of networks")
    shape: dict[str, Any] = Field(default_factory=dict, description="settings of the backbone")
    embedding: int = Field(256, ge=2, description="numbers that a site becomes")
    smoothing: float = Field(0.1, ge=0, lt=1, description="share of a label that all classes have in common")
    metric: MetricSettings = Field(default_factory=MetricSettings, description="loss on embeddings")
    views: ViewSettings = Field(default_factory=ViewSettings, description="how images are varied")
    turns: Literal[1, 2, 4, 8] = Field(4, description="symmetries of the square over which the package averages")
    name: str = Field("screen", description="name of the package, and of the columns that it gives")
    version: str = Field("1.0.0", description="version of the package")
    licence: str = Field("CC-BY-4.0", description="SPDX identifier of the weights: mind the licence of the images")
    attribution: str = Field("", description="what the licence of the images wants to be said")

    @field_validator("channels")
    @classmethod
    def channels_are_named_once(cls, channels: tuple[str, ...]) -> tuple[str, ...]:
        """A channel twice would weigh twice."""
        if len(set(channels)) < len(channels):
            raise ValueError("a channel is named twice")
        return channels

    @model_validator(mode="after")
    def shape_fits_the_network(self) -> Self:
        """Faults of the shape are found before the fit."""
        try:
            backbones.settings(self.network, self.shape)
        except PhenostreamError as error:
            raise ValueError(str(error)) from error
        return self


def build(settings: Settings) -> Classification:
    """The task of `settings`; the pack is opened when it is first asked for."""
    return Classification(settings)


class Classification(Configured[Settings]):
    """Supervised learning of perturbations on the sites of a pack."""

    @cached_property
    def sites(self) -> Sites:
        """What is learnt from, and what is kept; see `open_sites` for what it raises."""
        told = self.settings
        return open_sites(
            told.pack, label=told.label, where=told.where, channels=told.channels, condition=told.condition,
            division=told.split,
        )  # fmt: skip

    def network(self) -> nn.Module:
        """A network with fresh weights."""
        told, sites = self.settings, self.sites
        mean, std = sites.moments()
        backbone, features = backbones.build(told.network, len(sites.names), told.shape)
        metric = told.metric
        margin = (
            ArcFace(told.embedding, len(sites.classes), scale=metric.scale, margin=metric.margin)
            if metric.kind == "arcface"
            else None
        )
        return Classifier(
            Normalise(told.normalise, mean.tolist(), std.tolist()), backbone, features=features,
            conditions=len(sites.conditions), embedding=told.embedding, classes=len(sites.classes), margin=margin,
        )  # fmt: skip

    @property
    def least(self) -> int:
        """Two: embeddings are normalised over the batch."""
        return 2

    def __len__(self) -> int:
        """Sites to learn from."""
        return len(self.sites.train)

    def batches(self, order: Order, steps: range, *, team: Team, workers: int) -> Generator[Mapping[str, Tensor]]:
        """Sites (N, C, Y, X) in their own type, cut and turned, with class and condition, from the packs' loader.

        An epoch of the loader is what its sampler makes of the sites; one of the fit is as many sites as there are.
        """
        told = self.settings
        sampling = told.sampler.order(told.label)
        yield from self._feed.learning(told.views, sampling, order, step=steps.start, team=team, workers=workers)

    def loss(self, network: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        """Cross-entropy and the loss on embeddings, and the share of images whose first class is found."""
        assert isinstance(network, Classifier)  # noqa: S101  (what `network` made)
        told, label = self.settings, batch["label"]
        views = told.views
        image, partner, own = cutmix(noisy(network.normalised(batch["image"], batch["told"]), views), views)
        logits, embedding = network.heads(image, forgotten(batch["told"], network.conditions, told.forget))
        other = label[partner]
        entropy = mixed(lambda one: cross_entropy(logits, one, smoothing=told.smoothing), label, other, own)
        found = {"accuracy": (logits.argmax(dim=1) == label).float().mean().detach(), "entropy": entropy.detach()}
        if told.metric.kind == "none":
            return entropy, found
        apart = self._apart(network, embedding, label, other, own)
        weight = told.metric.weight
        return (1 - weight) * entropy + weight * apart, {**found, "metric": apart.detach()}

    def validate(self, network: nn.Module) -> Mapping[str, float]:
        """Accuracy of sites and of wells (mean of the log probabilities), and cross-entropy, on the kept sites."""
        sites = self.sites
        if not len(sites.keep):
            return {}
        logs, label = self._logs(network, sites.keep), sites.labels[sites.keep]
        _, first, well = np.unique(sites.wells[sites.keep], return_index=True, return_inverse=True)
        means = np.zeros((len(first), logs.shape[1]))
        np.add.at(means, well, logs)
        return {
            "accuracy": float((logs.argmax(axis=1) == label).mean()),
            "well_accuracy": float((means.argmax(axis=1) == label[first]).mean()),
            "entropy": float(-logs[np.arange(len(label)), label].mean()),
        }

    def data(self) -> Mapping[str, str]:
        """SHA-256 of the pack's description, which holds those of all the rest."""
        return self.sites.hashes()

    def export(
        self, network: nn.Module, folder: Path, *, training: Mapping[str, Any], metrics: Mapping[str, float]
    ) -> Package:
        """Write the network, its normalisation and its views as a package.

        Where the recipe in `training` says that a validation metric chose the weights (``monitor``), the package lists
        the sites of the validation among what it has seen.
        """
        assert isinstance(network, Classifier)  # noqa: S101
        told, sites = self.settings, self.sites
        dimensions = tuple(str(place) for place in range(told.embedding))
        planes = [f"{told.condition}={value}" for value in sites.conditions]
        if told.normalise == "plate":
            planes += [f"{channel} {moment} of the plate" for moment in ("mean", "std") for channel in sites.names]
        return write_network(
            Exported(network, told.turns).eval(),
            folder,
            test=self._tests(),
            outputs=[
                Output(
                    "log_probability", sites.classes, ratio=None, description="natural logarithm, mean over the views"
                ),
                Output("embedding", dimensions, ratio=None, description="mean over the views"),
            ],
            dynamic={0: "n", 2: "y", 3: "x"},
            name=told.name,
            version=told.version,
            title=f"Perturbations of a screen ({told.name})",
            description=f"Sites of {len(sites.names)} channels to the log probability of {len(sites.classes)} classes"
            f" of {told.label} and to {told.embedding} numbers.",
            image=Image((*sites.names, *planes), minimum=_LEAST_SIDE),
            training=training,
            metrics=metrics,
            licence=told.licence,
            licence_text=licence_text(told.licence, told.attribution),
            settings=self._described(chosen=_monitored(training)),
            tags=["classification", "embedding", "perturbation-screen"],
            replace=True,
        )

    def _apart(self, network: Classifier, embedding: Tensor, label: Tensor, other: Tensor, own: float) -> Tensor:
        if network.margin is not None:
            margin = network.margin
            return mixed(lambda one: margin(embedding, one), label, other, own)
        # Pairs are of what an image mostly shows.
        return supervised_contrastive(embedding, label, temperature=self.settings.metric.temperature)

    @cached_property
    def _feed(self) -> Feed:
        return Feed(self.sites, {"label": self.sites.labels, "told": self._told})

    @cached_property
    def _told(self) -> NDArray[np.float32]:
        """(sites, told) what the network is told besides the image of each site of the pack."""
        sites = self.sites
        hot = sites.condition[:, None] == np.arange(len(sites.conditions))
        moments = [sites.plates] if self.settings.normalise == "plate" else []
        return np.concatenate([hot.astype(np.float32), *moments], axis=1)

    def _logs(self, network: nn.Module, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        device = str(next(network.parameters()).device)
        found = [
            network(batch["image"], batch["told"])[0].float().log_softmax(dim=1).cpu().numpy()
            for batch in self._feed.judging(rows, device=device)
        ]
        return np.concatenate(found)

    def _tests(self) -> NDArray[np.float32]:
        """Two sites to learn from, with what the network is told of them, as the package takes them."""
        sites = self.sites
        rows = sites.train[:2]
        images = sites.pack.read(rows)[:, sites.channels].astype(np.float32)
        told = self._told[rows]
        planes = np.broadcast_to(told[:, :, None, None], (*told.shape, *images.shape[2:]))
        return np.concatenate([images, planes], axis=1)

    def _described(self, *, chosen: bool) -> dict[str, Any]:
        """What using the package needs, and what it has seen: nothing of that is fit to judge it."""
        told, sites = self.settings, self.sites
        return {
            "task": "classify",
            "channels": list(sites.names),
            "label": told.label,
            "classes": list(sites.classes),
            "condition": told.condition,
            "conditions": list(sites.conditions),
            "normalise": told.normalise,
            "column": told.name,
            "seen": self._groups(sites.train),
            "chosen_on": self._groups(sites.keep) if chosen else {},
        }

    def _groups(self, rows: NDArray[np.intp]) -> dict[str, list[str]]:
        """Experiments and plates of some sites, by name."""
        table = self.sites.pack.table.take(rows)
        return {
            name: sorted(set(texts(table, name).tolist()) - {""})
            for name in ("experiment", "plate")
            if name in table.column_names
        }


def _monitored(training: Mapping[str, Any]) -> bool:
    """Whether a metric of the validation chose the weights or the end of the fit (patience goes with it)."""
    return bool(training.get("recipe", {}).get("train", {}).get("monitor"))
