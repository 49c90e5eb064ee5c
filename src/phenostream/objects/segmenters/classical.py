"""`classical`: fluorescent nuclei without a trained network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field as Setting

from phenostream.objects.plug import SegmenterSettings, digest_of
from phenostream.values import Objects

if TYPE_CHECKING:
    from phenostream.values import Field

VERSION = "6"


class Settings(SegmenterSettings):
    """Settings of the classical segmenter; lengths are in pixels."""

    model: Literal["classical"] = "classical"
    diameter: float | None = Setting(
        None, ge=2, le=1000, description="Typical diameter of a nucleus; empty: estimated from each image."
    )
    remove_edges: bool = Setting(False, description="Remove objects that touch the border of the image.")


def build(settings: Settings) -> Classical:
    """The segmenter of `settings`."""
    return Classical(settings)


class Classical:
    """Bright nuclei on a darker background."""

    def __init__(self, settings: Settings) -> None:
        """Keep the settings; there is nothing to load."""
        self.settings = settings
        self.digest = digest_of(settings, VERSION)

    def segment(self, field: Field) -> Objects:
        """The nuclei of the chosen channel of `field`."""
        from phenostream.objects.classical import label_nuclei  # noqa: PLC0415  (SciPy and scikit-image load late)
        from phenostream.objects.labels import relabel, remove_edge_objects  # noqa: PLC0415
        from phenostream.objects.plane import channel_of  # noqa: PLC0415

        labels = label_nuclei(channel_of(field, self.settings.channel), self.settings.diameter)
        tidy = remove_edge_objects(labels) if self.settings.remove_edges else relabel(labels)
        return Objects(field.id, tidy, self.settings.compartment, self.digest)
