"""`nuclei`: fluorescent nuclei by the network that comes with phenostream."""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field as Setting

from phenostream.objects.plug import SegmenterSettings, digest_of
from phenostream.values import Objects

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from phenostream.inference import Model
    from phenostream.values import Field

VERSION = "2"


class Settings(SegmenterSettings):
    """Settings of the trained nuclei segmenter; lengths are in pixels."""

    model: Literal["nuclei"] = "nuclei"
    package: str = Setting("nuclei", description="Model package: a name or a folder.")
    diameter: float | None = Setting(
        None, ge=2, le=1000, description="Typical diameter of a nucleus; empty: estimated from each image."
    )
    views: Literal[1, 2, 4] = Setting(
        2, description="Mirror images whose answers are averaged; 1 is fastest, 4 a little better."
    )
    remove_edges: bool = Setting(False, description="Remove objects that touch the border of the image.")
    memory_mb: float = Setting(1024, gt=0, description="Memory of the network; larger images go in tiles.")
    threads: int | None = Setting(
        None, ge=1, description="Threads of a prediction; empty: one a core. The workers of a run take one each."
    )
    device: Literal["cpu", "cuda", "auto"] = Setting(
        "cpu", description="Where the network computes; labels are the same bits only on the same kind of device."
    )


def build(settings: Settings) -> Nuclei:
    """The segmenter of `settings`.

    Raises NotFoundError, ChangedError and their like for an unsound package, RecipeError for one of another kind.
    """
    return Nuclei(settings)


def stamp(settings: Settings) -> tuple[object, ...]:
    """What changes when the package is written anew."""
    from phenostream.inference import names  # noqa: PLC0415
    from phenostream.objects.weights import stamp_of  # noqa: PLC0415

    return stamp_of(names().get(settings.package, Path(settings.package)) / "rdf.yaml")


class Nuclei:
    """Bright nuclei on a darker background; the network is loaded once, at the first field."""

    def __init__(self, settings: Settings) -> None:
        """Find and verify the package, and read how it is used; load no network yet."""
        from phenostream.inference import find  # noqa: PLC0415
        from phenostream.objects.package import usage_of  # noqa: PLC0415

        self.settings = settings
        self.package = find(settings.package)
        self._usage = usage_of(self.package)
        # The processor is the usual device, and is not worth a word.
        unsaid = {"package", "threads"} | ({"device"} if settings.device == "cpu" else set())
        self.digest = digest_of(settings, VERSION, self.package.sha256, without=unsaid)

    @cached_property
    def _network(self) -> Model:
        from phenostream.inference import load  # noqa: PLC0415  (ONNX Runtime loads late)

        return load(self.package, device=self.settings.device, threads=self.settings.threads)

    def memory(self, shape: tuple[int, int]) -> int:
        """Bytes needed at most for a plane (Y, X) of `shape`; loads the network.

        Without `diameter`, the nuclei may turn out to be so small that the image is enlarged as far as it may be.
        """
        from phenostream.objects.memory import needed  # noqa: PLC0415
        from phenostream.objects.trained import shape_at  # noqa: PLC0415

        told, network = self.settings, self._network
        shown = shape_at(shape, self._usage.working / told.diameter if told.diameter else math.inf)
        window = min(told.memory_mb * 1e6, network.cost.bytes(math.prod(network.frame.padded(shown))))
        weights = (self.package.folder / self.package.description.weights.onnx.source).stat().st_size
        return needed(math.prod(shape), math.prod(shown)) + int(window) + 3 * weights

    def segment(self, field: Field) -> Objects:
        """The nuclei of the chosen channel of `field`. Raises OverBudgetError where memory cannot hold the work."""
        from phenostream.objects.labels import relabel, remove_edge_objects  # noqa: PLC0415  (SciPy, numba load late)
        from phenostream.objects.plane import channel_of  # noqa: PLC0415
        from phenostream.objects.trained import averaged, label_with  # noqa: PLC0415

        told, usage = self.settings, self._usage
        image = channel_of(field, told.channel)
        maps = averaged(self._maps, told.views)
        labels = label_with(maps, image, told.diameter, working=usage.working, rule=usage.rule, judge=usage.judge)
        tidy = remove_edge_objects(labels) if told.remove_edges else relabel(labels)
        return Objects(field.id, tidy, told.compartment, self.digest)

    def _maps(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        found: dict[str, Any] = self._network.predict(image[None], memory_mb=self.settings.memory_mb)
        maps: NDArray[np.float32] = found["maps"]
        return maps
