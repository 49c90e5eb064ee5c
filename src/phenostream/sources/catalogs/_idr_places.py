"""Where IDR keeps a plate, a well and a frame: fileset tables, screen names, and the paths built from them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phenostream.sources.catalogs._idr_tables import opened, refuse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

# idr0013/LT0113_01.ome.zarr,S-BIAD865/011c38fb-c3d0-4d1d-82d8-9147a5060d88,18761
_FILESET = re.compile(r"(?P<study>idr\d{4})/(?P<plate>[^,]+?)(\.ome)?\.zarr,(?P<accession>[\w-]+)/(?P<uuid>[\w-]+),\d+")
_SCREEN = re.compile(r"[\w-]+")
_WELL = re.compile(r"(?P<row>[A-Z]{1,2})0*(?P<column>[1-9]\d{0,2})")


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


def well_name(text: str) -> str:
    """``A4`` for ``A4``, ``a04`` or ``A004``. Raises ValueError."""
    row, column = _well(text)
    return f"{row}{column}"


def well_number(name: str, columns: int) -> int:
    """Number of the well `name`, counted row by row from 1 on a plate of `columns` columns. Raises ValueError."""
    row, column = _well(name)
    if column > columns:
        raise ValueError(name)
    index = 0
    for letter in row:
        index = index * 26 + ord(letter) - ord("A") + 1
    return (index - 1) * columns + column


def numbered_well(number: int, columns: int) -> str:
    """Name of the well with that number, row by row from 1 on a plate of `columns` columns. Raises ValueError."""
    if number < 1:
        raise ValueError(number)
    row, column = divmod(number - 1, columns)
    second, first = divmod(row, 26)
    letters = (chr(ord("A") + second - 1) if second else "") + chr(ord("A") + first)
    return f"{letters}{column + 1}"


def zarr_image(well: str, site: int) -> str:
    """Full resolution image of a site (from 1) in a bioformats2raw plate: ``A/4/0/0``."""
    row, column = _well(well)
    return f"{row}/{column}/{site - 1}/0"


def cellh5_file(screen: str, number: int) -> str:
    """The movie of a well below the MitoCheck folder: ``{screen}/hdf5/00004_01.ch5``."""
    return f"{screen}/hdf5/{number:05d}_01.ch5"


def cellh5_position(screen: str, number: int) -> str:
    """The only position inside that movie."""
    return f"sample/0/plate/{screen}/experiment/{number:05d}/position/1"


def _well(text: str) -> tuple[str, int]:
    match = _WELL.fullmatch(text.strip().upper())
    if match is None:
        raise ValueError(text)
    return match["row"], int(match["column"])
