"""Exporter ``ome_zarr``: an OME-Zarr plate a plate, OME-NGFF 0.5 or 0.4, as `phenostream.formats` writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from phenostream import formats
from phenostream.datasets.exporters import Example, Kind, Output
from phenostream.datasets.strategies import stable
from phenostream.datasets.tables import fields_of
from phenostream.errors import DamagedError, RecipeError
from phenostream.formats.ome_zarr import Layout, WellImage, write_plate
from phenostream.sources import open_store
from phenostream.sources.names import natural
from phenostream.sources.wells import order
from phenostream.values import Container

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from phenostream.datasets.packs import Pack


class Settings(BaseModel):
    """How plates are written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["ome_zarr"] = "ome_zarr"
    version: Literal["0.5", "0.4"] = Field("0.5", description="Of OME-NGFF: Zarr v3 or v2.")
    levels: int = Field(1, ge=1, description="Resolutions, each half of the one before.")
    pixel_size: float | None = Field(None, gt=0, description="Micrometres a pixel.")


def plan(pack: Pack, settings: Settings) -> list[Output]:  # noqa: ARG001  (as every plan)
    """See `phenostream.datasets.exporters`. Raises RecipeError for movies and stacks, or sites without a well."""
    fields = fields_of(pack.table)
    if any(field.id.time or field.id.z for field in fields):
        raise RecipeError("sites of several times or depths", remedy="export each time point of its own")
    if any(not field.id.well for field in fields):
        raise RecipeError("a site without a well cannot lie on a plate", remedy="use another format")
    number = {field.id: index for index, field in enumerate(fields)}
    outputs = []
    for shelf in stable(fields, 0, by=("plate",)):
        ordered = sorted(shelf.fields, key=lambda field: (order(field.id.well), natural(field.id.site)))
        keys, seen = [], dict[str, int]()
        for field in ordered:
            place = seen[field.id.well] = seen.get(field.id.well, -1) + 1
            row = field.id.well.rstrip("0123456789")
            keys.append(f"{row}/{field.id.well[len(row) :]}/{place}")
        outputs.append(Output(f"{shelf.name}.zarr", tuple(number[field.id] for field in ordered), tuple(keys)))
    return outputs


def write(path: Path, pack: Pack, output: Output, settings: Settings) -> None:
    """See `phenostream.datasets.exporters`."""
    wells = pack.table["well"].take(list(output.indices)).to_pylist()
    images = (WellImage(str(well), pack[index]) for well, index in zip(wells, output.indices, strict=True))
    layout = Layout(
        settings.version, pack.shape[1:], settings.levels, channels=pack.channels, pixel_size=settings.pixel_size
    )
    write_plate(path, images, name=output.path.removesuffix(".zarr"), layout=layout)


def read(path: Path, kind: Kind) -> Iterator[Example]:
    """See `phenostream.datasets.exporters`. The row is the identity that the plate tells. Raises DamagedError."""
    store = open_store(str(path.parent))
    for field in formats.fields(store, Container(path.name, "ome_zarr")):
        pixels: Any = field.read()
        if pixels.shape != kind.shape or pixels.dtype != np.dtype(kind.dtype):
            raise DamagedError(f"an image of {path.name} is {pixels.shape} {pixels.dtype}", remedy="write it again")
        yield Example(pixels, {"plate": field.id.plate, "well": field.id.well, "site": field.id.site})
