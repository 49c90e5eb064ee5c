"""`stardist`: StarDist 2-D (extra ``stardist``)."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path  # noqa: TC003  (pydantic reads it)
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field as Setting

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
    """Settings of the StarDist adaptor."""

    model: Literal["stardist"] = "stardist"
    network: str = Setting(
        "2D_versatile_fluo", description="Network that StarDist itself downloads, where no weights are given."
    )
    weights: Path | None = Setting(
        None, description="Model folder (config.json, weights) to use instead; nothing is downloaded then."
    )
    scale: float = Setting(1.0, gt=0, description="Factor to enlarge the image by before prediction.")
    probability: float | None = Setting(None, ge=0, le=1, description="Object threshold; empty: the model's own.")
    overlap: float | None = Setting(None, ge=0, le=1, description="Suppression threshold; empty: the model's own.")
    remove_edges: bool = Setting(False, description="Remove objects that touch the border of the image.")


def build(settings: Settings) -> StarDist:
    """The segmenter of `settings`. Raises MissingExtraError, and NotFoundError for missing weights."""
    return StarDist(settings)


def stamp(settings: Settings) -> tuple[object, ...]:
    """What changes when the weights are written anew."""
    return stamp_of(settings.weights) if settings.weights else ()


class StarDist:
    """StarDist behind the segmenter plug; its network is loaded once, at the first field."""

    def __init__(self, settings: Settings) -> None:
        """Know package and weights by version and content; load nothing yet."""
        self.settings = settings
        package = version_of("stardist", "stardist")
        content = hash_of(settings.weights) if settings.weights else ""
        self.digest = digest_of(settings, VERSION, package, content, without=("weights",))

    @cached_property
    def _network(self) -> Any:
        from stardist.models import StarDist2D  # noqa: PLC0415  (imports TensorFlow)

        folder = self.settings.weights
        if folder is None:
            return StarDist2D.from_pretrained(self.settings.network)
        return StarDist2D(None, name=folder.name, basedir=str(folder.parent))

    def segment(self, field: Field) -> Objects:
        """The objects that StarDist finds in the chosen channel of `field`."""
        told = self.settings
        image = channel_of(field, told.channel)
        masks = self._masks(image) if image.size and image.max() > image.min() else np.zeros(image.shape, np.int32)
        labels = remove_edge_objects(masks) if told.remove_edges else relabel(masks)
        return Objects(field.id, labels, told.compartment, self.digest)

    def _masks(self, image: NDArray[Any]) -> NDArray[Any]:
        told = self.settings
        low, high = np.percentile(image, (1, 99.8))
        scaled = (image.astype(np.float32) - np.float32(low)) / np.float32(max(high - low, 1e-20))
        masks, _ = self._network.predict_instances(
            scaled,
            scale=None if told.scale == 1 else told.scale,
            prob_thresh=told.probability,
            nms_thresh=told.overlap,
            show_progress=False,
        )
        return np.asarray(masks)
