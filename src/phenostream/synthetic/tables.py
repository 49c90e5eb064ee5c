"""The tables that go with an archive, in the forms in which IDR and the MitoCheck profiling stream publish them."""

from __future__ import annotations

import csv
import uuid
from typing import TYPE_CHECKING, Any

from phenostream.synthetic.plates import wells

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from phenostream.synthetic.plates import Design

_HEAD = ("", "Plate", "Well", "Frames", "Well Number", "Control Type", "Original Gene Target")
_TAIL = ("Plate_Map_Name", "Gene_Replicate", "Site", "DNA", "Dose")
_LIBRARY = (
    "Plate", "Well Number", "Well", "Plate_Well", "Characteristics [Organism]", "Characteristics [Cell Line]",
    "Original Gene Target", "Control Type", "Quality Control", "Channels", "Plate Issues", "Dose",
)  # fmt: skip


def identifier(plate: str, seed: int) -> str:
    """Name of the plate's folder in the OME-Zarr archive: a UUID that depends on plate and seed only."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"phenostream:{seed}:{plate}"))


def screen(plate: str) -> str:
    """Name of the screen in which the plate was imaged, of the length and form that the movies' paths have."""
    return f"{plate}--ex2005_11_16--sp2005_02_17--tt17--c3"


def write_work_list(path: Path, designs: Iterable[Design]) -> None:
    """Write ``data_to_process.tsv``: one row a plate, well and site, with all of its frames."""
    rows = ((index, *row) for index, row in enumerate(_work(designs)))
    _write(path, (*_HEAD, *_TAIL), rows, separator="\t")


def write_plates_list(path: Path, designs: Iterable[Design]) -> None:
    """Write ``idr0013-screenA-plates.tsv``: plate and screen, without a header."""
    _write(path, (), ((design.name, f"../screens/{screen(design.name)}.screen") for design in designs), separator="\t")


def write_filesets(path: Path, designs: Iterable[Design], *, study: str, accession: str) -> None:
    """Write ``ngff_filesets/idr0013.csv``: plate, folder and number, no header, lines ended as in the original."""
    lines = (
        f"{study}/{design.name}.ome.zarr,{accession}/{identifier(design.name, design.seed)},{18000 + number}\r\n"
        for number, design in enumerate(designs)
    )
    path.write_text("".join(lines), newline="")


def write_annotation(path: Path, designs: Iterable[Design]) -> None:
    """Write the study's annotation table: one row a well, comma separated."""
    _write(path, _LIBRARY, _library(designs), separator=",")


def write_plate_map(path: Path, designs: Iterable[Design]) -> None:
    """Write a plate map as laboratories keep them: one row a well."""
    rows = (
        (design.name, well.name, well.gene, well.control, well.dose) for design in designs for well in wells(design)
    )
    _write(path, ("Plate", "Well", "Gene", "Control", "Dose"), rows, separator=",")


def _work(designs: Iterable[Design]) -> Iterator[tuple[Any, ...]]:
    for design in designs:
        frames = ",".join(str(frame + 1) for frame in range(design.frames))
        for well in wells(design):
            image = f"{design.name}/{design.name}_{well.number}_{frames.partition(',')[0]}.tif"
            for site in range(1, design.sites + 1):
                yield (
                    design.name, well.name, frames, well.number, well.control, well.gene,
                    f"{design.name}_{well.number}", 1, site, image, well.dose,
                )  # fmt: skip


def _library(designs: Iterable[Design]) -> Iterator[tuple[Any, ...]]:
    for design in designs:
        channels = "; ".join(design.channels)
        for well in wells(design):
            yield (
                design.name, well.number, well.name, f"{design.name}_{well.name}", "synthetic", "none",
                well.gene, well.control, "TRUE", channels, "", well.dose,
            )  # fmt: skip


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]], *, separator: str) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter=separator, lineterminator="\n")
        if header:
            writer.writerow(header)
        writer.writerows(rows)
