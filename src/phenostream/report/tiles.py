"""Small pictures of single cells, cut from the pictures of their fields, all on one sheet."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw

from phenostream.errors import PhenostreamError
from phenostream.profiles import part_schema, read_part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from phenostream.report.pictures import Pictures
    from phenostream.report.survey import Survey

#: Side of a tile and tiles in a row of the sheet.
SIDE = 48
ACROSS = 50
_MARGIN = 1.5
_NUMBER = "ObjectNumber"


@dataclass(frozen=True, slots=True)
class Tiles:
    """Cells on a sheet.

    Attributes:
        numbers: (n,) place of each shown cell on the sheet, -1 where it has no picture.
        image: the cells as a data address, tiles of `SIDE` px, `ACROSS` in a row.
        lines: their outlines, transparent elsewhere, in the same places; empty where there are none.
        pixels: pixels of the field that one tile shows, across.
        blurred: tile pixels a pixel that was kept: above 1 the tiles are enlarged.
    """

    numbers: NDArray[np.int32]
    image: str
    lines: str
    pixels: float
    blurred: float


def tiles(found: Survey, pictures: Pictures) -> Tiles | None:
    """A picture of each cell of ``found.shown`` whose part has one; None where none has."""
    sample = found.shown
    cells = _located(found, pictures)
    if not cells:
        return None
    side = _side(cells)
    numbers = np.full(len(sample.rows), -1, np.int32)
    rows = -(-len(cells) // ACROSS)
    sheet = Image.new("RGB", (ACROSS * SIDE, rows * SIDE))
    lines = Image.new("L", sheet.size)
    scales, place = [], 0
    for path in dict.fromkeys(cell.part for cell in cells):
        picture = pictures.get(path)
        if picture is None:
            continue
        for cell in (one for one in cells if one.part == path):
            corner = (place % ACROSS * SIDE, place // ACROSS * SIDE)
            sheet.paste(_cut(picture.image, cell, side * picture.scale, picture.scale), corner)
            _draw(lines, cell, side, corner)
            numbers[cell.row] = place
            scales.append(SIDE / (side * picture.scale))
            place += 1
    if not place:
        return None
    sheet, lines = (one.crop((0, 0, one.width, -(-place // ACROSS) * SIDE)) for one in (sheet, lines))
    return Tiles(numbers, _webp(sheet), _mask(lines), side, float(np.median(scales)))


@dataclass(frozen=True, slots=True)
class _Cell:
    row: int
    part: str
    x: float
    y: float
    outline: NDArray[Any]


def _located(found: Survey, pictures: Pictures) -> list[_Cell]:
    """Where the shown cells lie, part by part."""
    sample, made = found.shown, []
    if _NUMBER not in sample.metadata.column_names:
        return []
    labels = [str(one) for one in sample.metadata.column(_NUMBER).to_pylist()]
    for number in np.unique(sample.parts).tolist():
        path = found.paths.get(number, "")
        rows = np.flatnonzero(sample.parts == number)
        if path:
            made += _of_part(path, rows, {labels[row]: int(row) for row in rows}, pictures)
    return made


def _of_part(path: str, rows: NDArray[Any], wanted: dict[str, int], pictures: Pictures) -> list[_Cell]:
    part = pictures.folder / path
    try:
        names = _names(part_schema(part))
        table = read_part(part, names) if len(rows) and len(names) == 5 else pa.table({})
    except PhenostreamError as error:
        pictures.skip(part, error)
        return []
    if not table.num_rows:
        return []
    cells = []
    for number, x, y, xs, ys in zip(*(column.to_pylist() for column in table.columns), strict=True):
        row = wanted.get(str(number))
        if row is not None and x is not None and y is not None:
            cells.append(_Cell(row, path, float(x), float(y), np.column_stack([xs or [], ys or []])))
    return cells


def _names(schema: pa.Schema) -> list[str]:
    """The object number, the centre, and the outline of the first compartment that has both."""
    for name in schema.names:
        stem = name.removesuffix("_Location_Center_X")
        wanted = [_NUMBER, name, f"{stem}_Location_Center_Y", f"{stem}_Outline_X", f"{stem}_Outline_Y"]
        if stem != name and set(wanted) <= set(schema.names):
            return wanted
    return []


def _side(cells: Sequence[_Cell]) -> float:
    """Side of the shown square in field pixels: what fits nine cells in ten, and half as much around."""
    extents = [float(np.ptp(cell.outline, axis=0).max()) + 1 for cell in cells if len(cell.outline)]
    return max(8.0, _MARGIN * float(np.percentile(extents, 90))) if extents else 64.0


def _cut(image: Image.Image, cell: _Cell, side: float, scale: float) -> Image.Image:
    x, y = ((value + 0.5) * scale for value in (cell.x, cell.y))
    box = (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
    # Beyond the edge of the field is black, as Image.transform fills it.
    data = (box[0], box[1], box[0], box[3], box[2], box[3], box[2], box[1])
    return image.transform((SIDE, SIDE), Image.Transform.QUAD, data, Image.Resampling.BICUBIC)


def _draw(lines: Image.Image, cell: _Cell, side: float, corner: tuple[int, int]) -> None:
    if len(cell.outline) < 3:
        return
    places = (cell.outline - (cell.x, cell.y)) * (SIDE / side) + SIDE / 2
    tile = Image.new("L", (SIDE, SIDE))
    points = [(float(x), float(y)) for x, y in places]
    ImageDraw.Draw(tile).line([*points, points[0]], fill=255, width=1)
    lines.paste(tile, corner)


def _webp(image: Image.Image) -> str:
    sink = io.BytesIO()
    image.save(sink, "WEBP", quality=72, method=4)
    return f"data:image/webp;base64,{base64.b64encode(sink.getvalue()).decode()}"


def _mask(lines: Image.Image) -> str:
    if not lines.getbbox():
        return ""
    palette = lines.point(lambda value: 1 if value else 0).convert("P")
    palette.putpalette([0, 0, 0, 255, 210, 63])
    sink = io.BytesIO()
    palette.save(sink, "PNG", optimize=True, transparency=0, bits=1)
    return f"data:image/png;base64,{base64.b64encode(sink.getvalue()).decode()}"
