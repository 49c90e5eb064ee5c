"""Writes TIFF and OME-TIFF files, the same bytes for the same pixels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from xml.etree import ElementTree as ET

import numpy as np
import tifffile

from phenostream.errors import WrongShapeError
from phenostream.formats.limits import PIXEL_TYPES, check_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_SCHEMA = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_TYPES = {"float32": "float"}


def write(
    path: Path | str,
    pixels: NDArray[Any],
    *,
    ome: bool = False,
    channels: Sequence[str] = (),
    pixel_size: float | None = None,
    compression: Literal["zlib", "zstd", "lzw", "none"] = "zlib",
) -> None:
    """Write an image, one page a plane.

    Args:
        path: of the file (name it ``.ome.tif`` where `ome`).
        pixels: (Y, X), (C, Y, X) or (T, C, Z, Y, X).
        ome: add OME-XML, so that axes, channels and pixel size are kept; without it pages are just pages.
        channels: names; numbered where there are fewer than channels.
        pixel_size: micrometres a pixel.
        compression: only ``zlib`` carries a checksum (Adler-32); the others cannot notice damage.

    Raises:
        WrongShapeError: another shape.
        WrongDtypeError: pixels that no reader of this package takes.
    """
    array = np.asarray(pixels)
    if array.ndim not in (2, 3, 5) or 0 in array.shape:
        raise WrongShapeError(f"an image of shape {array.shape}", remedy="give (Y, X), (C, Y, X) or (T, C, Z, Y, X)")
    check_dtype(array.dtype, "a TIFF", PIXEL_TYPES)
    stack = array if array.ndim == 5 else array.reshape(1, -1, 1, *array.shape[-2:])
    pages = stack.reshape(-1, *stack.shape[-2:])
    told = _ome_xml(stack, channels, pixel_size) if ome else None
    with tifffile.TiffWriter(Path(path), bigtiff=array.nbytes > 2**32 - 2**25) as file:
        for number, page in enumerate(pages):
            file.write(
                page,
                photometric="minisblack",
                compression=None if compression == "none" else compression,
                rowsperstrip=min(256, page.shape[0]),
                description=told if number == 0 else None,
                metadata=None,
                software=False,
                contiguous=False,
            )


def _ome_xml(stack: NDArray[Any], channels: Sequence[str], pixel_size: float | None) -> bytes:
    """OME-XML of one image whose pages follow each other z first, then channel, then time."""
    t, c, z, y, x = stack.shape
    sizes = {"SizeX": x, "SizeY": y, "SizeC": c, "SizeZ": z, "SizeT": t}
    names = list(channels[:c]) + [f"Channel{number}" for number in range(len(channels), c)]
    root = ET.Element("OME", {"xmlns": _SCHEMA, "Creator": "phenostream"})
    image = ET.SubElement(root, "Image", {"ID": "Image:0", "Name": "image"})
    told = {"ID": "Pixels:0", "DimensionOrder": "XYZCT", "Type": _TYPES.get(stack.dtype.name, stack.dtype.name)}
    told |= {name: str(size) for name, size in sizes.items()}
    if pixel_size:
        told |= {
            f"PhysicalSize{axis}{end}": value
            for axis in "XY"
            for end, value in (("", repr(pixel_size)), ("Unit", "µm"))
        }
    pixels = ET.SubElement(image, "Pixels", told)
    for number, name in enumerate(names):
        ET.SubElement(pixels, "Channel", {"ID": f"Channel:0:{number}", "Name": name, "SamplesPerPixel": "1"})
    ET.SubElement(pixels, "TiffData", {"IFD": "0", "PlaneCount": str(t * c * z)})
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text
