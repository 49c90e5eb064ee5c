"""`own_regions`: the labels that the image's own file holds (CellH5 regions, OME-Zarr label groups)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field as Setting

from phenostream import formats
from phenostream.objects.plug import SegmenterSettings, digest_of
from phenostream.values import Objects

if TYPE_CHECKING:
    from phenostream.values import Field, Store

VERSION = "1"


class Settings(SegmenterSettings):
    """Settings of the segmenter that takes a file's own labels."""

    model: Literal["own_regions"] = "own_regions"
    region: str = Setting(
        "", description="CellH5 region (primary__test) or OME-Zarr label group; empty: the first one of the file."
    )


def build(settings: Settings) -> OwnRegions:
    """The segmenter of `settings`."""
    return OwnRegions(settings)


class OwnRegions:
    """Takes labels as they are: numbers stay those of the file, so that its own tables and tracks still join."""

    def __init__(self, settings: Settings) -> None:
        """Keep the settings; there is nothing to load."""
        self.settings = settings
        self.digest = digest_of(settings, VERSION)

    def segment(self, field: Field) -> Objects:
        """The regions of `field`, which formats must have attached to its file.

        Raises:
            NotFoundError: the field has no file, its format no labels, or the file no such region.
        """
        labels = formats.labels(field, self.settings.region)
        return Objects(field.id, labels, self.settings.compartment, self.digest)

    def segment_from(self, field: Field, store: Store) -> Objects:
        """The regions of `field`, whose planes lie in `store`. Raises as :meth:`segment` does."""
        return self.segment(formats.attach(field, store))
