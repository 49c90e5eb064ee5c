"""`nuclei`: fluorescent nuclei by the network that comes with phenostream."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field as Setting

from phenostream.errors import NotFoundError
from phenostream.objects.plug import SegmenterSettings, digest_of
from phenostream.values import Objects

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from phenostream.inference import Model
    from phenostream.objects.judge import Judge
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
    threads: int | None = Setting(None, ge=1, description="Threads of a prediction; empty: one a core.")


def build(settings: Settings) -> Nuclei:
    """The segmenter of `settings`. Raises NotFoundError, ChangedError and their like for an unsound package."""
    return Nuclei(settings)


class Nuclei:
    """Bright nuclei on a darker background; the network is loaded once, at the first field."""

    def __init__(self, settings: Settings) -> None:
        """Find and verify the package; load nothing yet."""
        from phenostream.inference import find  # noqa: PLC0415

        self.settings = settings
        self.package = find(settings.package)
        self.digest = digest_of(settings, VERSION, self.package.sha256, without=("package", "threads"))

    @cached_property
    def _judge(self) -> Judge | None:
        from phenostream.inference import read_weights  # noqa: PLC0415
        from phenostream.objects.judge import Judge  # noqa: PLC0415

        try:
            return Judge.of(read_weights(self.package))
        except NotFoundError:  # a package may come without weights
            return None

    @cached_property
    def _network(self) -> Model:
        from phenostream.inference import load  # noqa: PLC0415  (ONNX Runtime loads late)

        return load(self.package, threads=self.settings.threads)

    def segment(self, field: Field) -> Objects:
        """The nuclei of the chosen channel of `field`."""
        from phenostream.objects.instances import Rule  # noqa: PLC0415  (SciPy, scikit-image and numba load late)
        from phenostream.objects.labels import relabel, remove_edge_objects  # noqa: PLC0415
        from phenostream.objects.plane import channel_of  # noqa: PLC0415
        from phenostream.objects.trained import averaged, label_with  # noqa: PLC0415

        told, known = self.settings, self.package.settings
        image = channel_of(field, told.channel)
        rule = Rule(**known["rule"])
        maps = averaged(self._maps, told.views)
        labels = label_with(maps, image, told.diameter, working=known["diameter_px"], rule=rule, judge=self._judge)
        tidy = remove_edge_objects(labels) if told.remove_edges else relabel(labels)
        return Objects(field.id, tidy, told.compartment, self.digest)

    def _maps(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        found: dict[str, Any] = self._network.predict(image[None], memory_mb=self.settings.memory_mb)
        maps: NDArray[np.float32] = found["maps"]
        return maps
