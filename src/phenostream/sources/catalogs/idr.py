"""Catalog ``idr``: images of the Image Data Resource, listed by its own tables and by the work lists made from them.

Reads the work list of the MitoCheck profiling stream (``data_to_process.tsv``), the plates list of a screen, a study's
annotation table, and the OME-Zarr fileset tables of any number of studies, and says where each chosen frame lies: in
the OME-Zarr copies, or in the CellH5 movies. No pixel and no remote byte is touched.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import islice
from pathlib import Path  # noqa: TC003  (pydantic resolves it at run time)
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, ConfigDict, PositiveInt, model_validator

from phenostream.sources.catalogs._idr_places import (
    Fileset,
    cellh5_file,
    cellh5_position,
    filesets,
    screens,
    zarr_image,
)
from phenostream.sources.catalogs._idr_rows import Image, images, matches, sampled
from phenostream.values import Channel, Container, Field, FieldId, Plane

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phenostream.values import Store

_BASES = {
    "zarr": "https://uk1s3.embassy.ebi.ac.uk/bia-integrator-data",
    "cellh5": "https://ftp.ebi.ac.uk/pub/databases/IDR/idr0013-neumann-mitocheck/20150916-mitocheck-analysis/mitocheck",
}


class Sample(BaseModel):
    """A random choice of fields, the same for the same seed whatever the order of the table.

    Attributes:
        n: fields to keep of each group (fewer where the group has fewer).
        per: what makes a group.
        seed: another seed, another choice.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    n: PositiveInt
    per: Literal["table", "plate", "well", "control", "gene"] = "plate"
    seed: int = 0


class Settings(BaseModel):
    """What to take from IDR, and where its tables are. Wells are ``A4``, frames count from 1, as in the tables.

    Attributes:
        catalog: ``idr``.
        work_list: a ``data_to_process.tsv``: one row a plate, well and frame (or several frames, ``30,40,50``).
        annotation: a study's annotation table (``...-annotation.csv``): one row a well; `frames` says which to take.
        filesets: OME-Zarr fileset tables (``ngff_filesets/idr0013.csv`` ...); alone, they give whole plates.
        plates_lists: plates lists (``idr0013-screenA-plates.tsv``): the screen each plate was imaged in.
        layout: ``zarr``, the OME-Zarr copies, or ``cellh5``, the MitoCheck movies.
        base: root of the archive instead of the public one: a mirror's URL, an ``s3://`` address, a folder.
        channels: names of the channels, in the order of the file.
        studies: names of the studies meant, as patterns; the first one names the study where no fileset table does.
        screens: only plates whose screen's name matches one of these patterns (needs `plates_lists`).
        plates: only plates that match one of these patterns (``LT0001_*``).
        wells: only wells that match one of these patterns (``A4``, ``B*``).
        frames: only these frames; required with `annotation`, which lists none.
        controls: ``all`` rows, ``any`` control, ``negative`` or ``positive`` ones, or ``samples``: no controls.
        drop_plate_issues: leave out rows whose "Plate Issues" says something.
        drop_empty_wells: leave out rows whose control type is "empty well".
        drop_wells: wells to leave out on every plate; MitoCheck's A1 is unevenly lit: ``[A1]``.
        carry: further columns of the table to carry along as annotation.
        plate_columns: columns of wells on a plate, to count wells by (24 on a plate of 384).
        sample: a random choice among the chosen fields.
        limit: stop after so many fields.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    catalog: Literal["idr"] = "idr"
    work_list: Path | None = None
    annotation: Path | None = None
    filesets: tuple[Path, ...] = ()
    plates_lists: tuple[Path, ...] = ()
    layout: Literal["zarr", "cellh5"] = "zarr"
    base: str | None = None
    channels: tuple[str, ...] = ("DNA",)
    studies: tuple[str, ...] = ("idr0013",)
    screens: tuple[str, ...] = ()
    plates: tuple[str, ...] = ()
    wells: tuple[str, ...] = ()
    frames: tuple[PositiveInt, ...] = ()
    controls: Literal["all", "any", "negative", "positive", "samples"] = "all"
    drop_plate_issues: bool = False
    drop_empty_wells: bool = False
    drop_wells: tuple[str, ...] = ()
    carry: tuple[str, ...] = ()
    plate_columns: PositiveInt = 24
    sample: Sample | None = None
    limit: PositiveInt | None = None

    @model_validator(mode="after")
    def _one_list(self) -> Self:
        if self.work_list and self.annotation:
            raise ValueError("give a work_list or an annotation table, not both")
        if self.annotation and not self.frames:
            raise ValueError("an annotation table lists no frames: say which in frames, e.g. [50]")
        return self

    @model_validator(mode="after")
    def _tables_of_the_layout(self) -> Self:
        if self.layout == "zarr" and not self.filesets:
            raise ValueError("layout zarr needs filesets: the fileset tables of the OME-Zarr copies")
        if self.layout == "cellh5" and not (self.plates_lists and (self.work_list or self.annotation)):
            raise ValueError("layout cellh5 needs plates_lists, and a work_list or an annotation table")
        if self.screens and not self.plates_lists:
            raise ValueError("screens can be chosen only with plates_lists")
        return self


def base(settings: Settings) -> str:
    """Root of the archive: the public one of the layout, or the one that the settings name."""
    return settings.base or _BASES[settings.layout]


def closed(settings: Settings) -> bool:
    """Whether the tables say it all: whole plates are listed by the archive."""
    return settings.work_list is not None or settings.annotation is not None


def units(settings: Settings, store: Store) -> Iterator[Field | Container]:  # noqa: ARG001  (the tables say it all)
    """The chosen fields in the order of the table; whole plates where only fileset tables are given.

    A field that no table can place comes with ``planes=()`` and the reason in ``annotation["unresolved"]``.

    Raises:
        RecipeError: a table is missing or malformed; names file, row and column.
    """
    places = _Places(settings)
    table = settings.work_list or settings.annotation
    if table is None:
        return islice(places.plates(), settings.limit)
    found = images(table, settings, places.chosen)
    if settings.sample:
        found = sampled(found, settings.sample)
    return (places.field(image) for image in islice(found, settings.limit))


class _Places:
    """Which plates are meant, and where their images lie."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._channels = tuple(Channel(name) for name in settings.channels)
        self._screens = screens(settings.plates_lists)
        self._filesets: dict[str, list[Fileset]] = defaultdict(list)
        for fileset in filesets(settings.filesets):
            if matches(fileset.study, settings.studies):
                self._filesets[fileset.plate].append(fileset)

    def chosen(self, plate: str) -> bool:
        """Whether the settings choose this plate."""
        patterns = self._settings.screens
        screen = self._screens.get(plate, "")
        return matches(plate, self._settings.plates) and (not patterns or (screen != "" and matches(screen, patterns)))

    def plates(self) -> Iterator[Container]:
        """Whole plates, in the order of the fileset tables."""
        for plate, found in self._filesets.items():
            if self.chosen(plate):
                for fileset in found:
                    yield Container(fileset.key, "ome_zarr", study=fileset.study, plate=plate)

    def field(self, image: Image) -> Field:
        """The field of `image`, its planes placed or the reason noted why they cannot be."""
        study, place, reason = self._zarr(image) if self._settings.layout == "zarr" else self._cellh5(image)
        planes = tuple(Plane(*place, c=c, t=image.frame - 1) for c in range(len(self._channels))) if place else ()
        annotation = _annotation(image, reason)
        identity = FieldId(study, image.plate, image.well, str(image.site), image.frame - 1)
        return Field(identity, self._channels, planes, annotation=annotation)

    def _zarr(self, image: Image) -> tuple[str, tuple[str, str, str] | None, str]:
        found = self._filesets.get(image.plate, [])
        if len(found) == 1:
            return found[0].study, (found[0].key, "ome_zarr", zarr_image(image.well, image.site)), ""
        if not found:
            return self._study(), None, f"plate {image.plate} is not in the fileset tables"
        studies = ", ".join(fileset.study for fileset in found)
        return self._study(), None, f"plate {image.plate} is in several filesets ({studies}): name one study"

    def _cellh5(self, image: Image) -> tuple[str, tuple[str, str, str] | None, str]:
        screen = self._screens.get(image.plate)
        if screen is None:
            return self._study(), None, f"plate {image.plate} is not in the plates lists"
        key, inner = cellh5_file(screen, image.number), cellh5_position(screen, image.number)
        return self._study(), (key, "cellh5", inner), ""

    def _study(self) -> str:
        first = self._settings.studies[0] if self._settings.studies else ""
        return "" if any(letter in first for letter in "*?[") else first


def _annotation(image: Image, reason: str) -> dict[str, str]:
    """What the export needs to write the original tool's columns, under their names."""
    told = {
        "Plate_Map_Name": f"{image.plate}_{image.number}",
        "DNA": f"{image.plate}/{image.plate}_{image.number}_{image.frame}.tif",
        "Gene": image.gene,
        "Gene_Replicate": image.replicate,
        "Well_Number": str(image.number),
        "Control": image.control,
        **dict(image.extra),
    }
    return {**told, "unresolved": reason} if reason else told
