"""`cellpose`: Cellpose 3 and 4 with the settings of idrstream (extra ``cellpose``)."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path  # noqa: TC003  (pydantic reads it)
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field as Setting

from phenostream.errors import RecipeError
from phenostream.inference import read_checkpoint
from phenostream.objects.labels import relabel, remove_edge_objects
from phenostream.objects.plane import channel_of
from phenostream.objects.plug import SegmenterSettings, digest_of
from phenostream.objects.weights import hash_of, stamp_of, version_of
from phenostream.values import Objects

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phenostream.values import Field

VERSION = "1"


class Settings(SegmenterSettings):
    """Settings of the Cellpose adaptor; the defaults are those of idrstream (Cellpose 2, ``cyto``, automatic size)."""

    model: Literal["cellpose"] = "cellpose"
    network: str = Setting("cyto", description="Network that Cellpose itself downloads, where no weights are given.")
    weights: Path | None = Setting(None, description="Weights file to use instead; nothing is downloaded then.")
    diameter: float = Setting(0.0, ge=0, description="Diameter in pixels; 0: estimated, or the one of the training.")
    flow_threshold: float = Setting(0.8, ge=0, description="Largest flow error of a mask; 0: not checked (faster).")
    cellprob_threshold: float = Setting(0.0, description="Least cell logit of a pixel.")
    min_size: int = Setting(15, ge=0, description="Least area of a mask in pixels.")
    remove_edges: bool = Setting(True, description="Remove objects that touch the border of the image.")
    gpu: bool = Setting(False, description="Use the graphics card.")


def build(settings: Settings) -> Cellpose:
    """The segmenter of `settings`.

    Raises:
        MissingExtraError: Cellpose is not installed.
        NotFoundError: missing weights.
        HostileError, DamagedError, TooLargeError: weights that are more, or less, than a checkpoint's tensors.
    """
    return Cellpose(settings)


def stamp(settings: Settings) -> tuple[object, ...]:
    """What changes when the weights are written anew."""
    return stamp_of(settings.weights) if settings.weights else ()


def known_weights(path: Path) -> str:
    """The hash of a file of weights, which holds tensors and no code: Cellpose would unpickle it."""
    content = hash_of(path)
    read_checkpoint(path)
    return content


class Cellpose:
    """Cellpose behind the segmenter plug; its network is loaded once, at the first field."""

    def __init__(self, settings: Settings) -> None:
        """Know package and weights by version and content; load nothing yet."""
        self.settings = settings
        self.package = version_of("cellpose", "cellpose")
        if settings.weights is None and self._major >= 4 and not settings.network.startswith("cpsam"):
            raise RecipeError(
                f"cellpose {self.package} no longer has the network {settings.network!r}",
                remedy='use "network: cpsam", give weights, or pip install "cellpose<4"',
            )
        content = known_weights(settings.weights) if settings.weights else ""
        self.digest = digest_of(settings, VERSION, self.package, content, without=("weights", "gpu"))

    @property
    def _major(self) -> int:
        return int(self.package.split(".")[0])

    @cached_property
    def _network(self) -> Any:
        from cellpose import models  # noqa: PLC0415  (imports torch)

        told = self.settings
        if told.weights is not None:
            return models.CellposeModel(gpu=told.gpu, pretrained_model=str(told.weights))
        if self._major >= 4:
            return models.CellposeModel(gpu=told.gpu, pretrained_model=told.network)
        return models.Cellpose(gpu=told.gpu, model_type=told.network)  # with its size model

    def segment(self, field: Field) -> Objects:
        """The masks that Cellpose finds in the chosen channel of `field`."""
        told = self.settings
        image = channel_of(field, told.channel)
        masks = self._masks(image) if image.size and image.max() > image.min() else np.zeros(image.shape, np.int32)
        labels = remove_edge_objects(masks) if told.remove_edges else relabel(masks)
        return Objects(field.id, labels, told.compartment, self.digest)

    def _masks(self, image: NDArray[Any]) -> NDArray[Any]:
        told = self.settings
        grey = {"channels": [0, 0]} if self._major < 4 else {}
        found = self._network.eval(
            image,
            diameter=told.diameter or None,
            flow_threshold=told.flow_threshold,
            cellprob_threshold=told.cellprob_threshold,
            min_size=told.min_size,
            **grey,
        )
        return np.asarray(found[0])
