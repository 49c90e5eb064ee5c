"""Where IDR keeps a plate, a well and a frame: fileset tables, screen names, and the paths built from them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phenostream.sources.catalogs._idr_tables import opened, refuse
from phenostream.sources.wells import order, well_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

# idr0013/LT0113_01.ome.zarr,S-BIAD865/011c38fb-c3d0-4d1d-82d8-9147a5060d88,18761
_FILESET = re.compile(r"(?P<study>idr\d{4})/(?P<plate>[^,]+?)(\.ome)?\.zarr,(?P<accession>[\w-]+)/(?P<uuid>[\w-]+),\d+")
_SCREEN = re.compile(r"[\w-]+")


@dataclass(frozen=True, slots=True)
class Fileset:
    """One plate of the OME-Zarr copies: its study, its name, and its Zarr group below the archive's root."""

    study: str
    plate: str
    key: str


def filesets(paths: Iterable[Path]) -> Iterator[Fileset]:
    """The plates of the fileset tables, in their order.

    Raises:
        RecipeError: no such file, or a line of another form; names file and row.
    """
    for path in paths:
        for row, line in _lines(path):
            match = _FILESET.fullmatch(line)
            if match is None:
                refuse(
                    path,
                    f"not a fileset line: {line[:80]!r}",
                    row=row,
                    remedy="lines read idrNNNN/PLATE.ome.zarr,S-BIADNNN/UUID,NUMBER",
                )
            accession, uuid = match["accession"], match["uuid"]
            yield Fileset(match["study"], match["plate"], f"{accession}/{uuid}/{uuid}.zarr")


def screens(paths: Iterable[Path]) -> dict[str, str]:
    """Plate name to screen name (``LT0001_02--ex2005_11_16--sp2005_02_17--tt17--c3``) from plates lists.

    Raises:
        RecipeError: no such file, or a row that is not a plate, a tab and a ``.screen`` path.
    """
    found = {}
    for path in paths:
        for row, line in _lines(path):
            plate, _, place = line.partition("\t")
            name = place.rpartition("/")[2].removesuffix(".screen")
            if not plate or not _SCREEN.fullmatch(name):
                refuse(
                    path,
                    f"not a plate and its screen: {line[:80]!r}",
                    row=row,
                    remedy="rows read PLATE<tab>../screens/NAME.screen",
                )
            found[plate] = name
    return found


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    with opened(path) as stream:
        for row, raw in enumerate(stream, start=1):
            line = raw.decode("utf-8-sig", errors="replace").strip()
            if line:
                yield row, line


def numbered(well: str, columns: int) -> int:
    """Number of the well ``A4``, counted row by row from 1 on a plate of `columns` columns. Raises ValueError."""
    row, column, _ = order(well)
    if column > columns:
        raise ValueError(well)
    return (row - 1) * columns + column


def named(number: int, columns: int) -> str:
    """Name of the well with that number, counted likewise. Raises ValueError."""
    if number < 1:
        raise ValueError(number)
    row, column = divmod(number - 1, columns)
    return well_name(str(row + 1), str(column + 1))


def zarr_image(well: str, site: int) -> str:
    """Full resolution image of a site (from 1) in a bioformats2raw plate: ``A/4/0/0``."""
    row = well.rstrip("0123456789")
    return f"{row}/{well.removeprefix(row)}/{site - 1}/0"


def cellh5_file(screen: str, number: int) -> str:
    """The movie of a well below the MitoCheck folder: ``{screen}/hdf5/00004_01.ch5``."""
    return f"{screen}/hdf5/{number:05d}_01.ch5"


def cellh5_position(screen: str, number: int) -> str:
    """The only position inside that movie."""
    return f"sample/0/plate/{screen}/experiment/{number:05d}/position/1"
