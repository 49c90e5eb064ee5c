"""What the description of a TIFF says about its pages: OME-XML, ImageJ, or nothing."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from phenostream.errors import DamagedError, HostileError
from phenostream.formats._places import check_index, inside

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from xml.etree.ElementTree import Element

_UNITS = {"nm": 1e-3, "µm": 1.0, "\u03bcm": 1.0, "um": 1.0, "mm": 1e3, "Å": 1e-4, "pm": 1e-6, "cm": 1e4, "m": 1e6}
_PAGES = 10_000_000


@dataclass(frozen=True, slots=True)
class Image:
    """One image of a file.

    Attributes:
        sizes: planes along c, t, z.
        order: the three axes, the one that changes from page to page first.
        pages: (file name or empty, page) where the file tells it plane by plane; otherwise they follow each other.
        channels: names; empty where untold.
        pixel_size: micrometres a pixel; None where untold.
        well: row letters and number; empty where untold.
        site: of the well.
    """

    sizes: Mapping[str, int]
    order: str = "czt"
    pages: Mapping[tuple[int, int, int], tuple[str, int]] = field(default_factory=dict)
    first: int = 0
    channels: tuple[str, ...] = ()
    pixel_size: float | None = None
    well: str = ""
    site: str = "1"

    def page(self, c: int, t: int, z: int, what: str) -> tuple[str, int]:
        """File name (empty: this one) and page of a plane. Raises OutOfRangeError, DamagedError."""
        wanted = {"c": c, "t": t, "z": z}
        for axis, value in wanted.items():
            check_index(value, self.sizes[axis], axis, what)
        if not self.pages:
            return "", self.first + _rank(wanted, self.sizes, self.order)
        try:
            return self.pages[c, t, z]
        except KeyError:
            raise DamagedError(f"the OME-XML of {what} gives no page for c {c}, t {t}, z {z}") from None


def images(description: str, pages: int, key: str) -> list[Image]:
    """The images that a file with `pages` pages describes on its first page."""
    text = description.strip()
    if text.startswith("<") and "OME" in text[:2000]:
        return _of_ome(text, key)
    if text.startswith("ImageJ="):
        return [_of_imagej(text)]
    return [Image({"c": 1, "t": pages, "z": 1})]


def _rank(wanted: Mapping[str, int], sizes: Mapping[str, int], order: str) -> int:
    first, second, third = tuple(order)
    return wanted[first] + sizes[first] * (wanted[second] + sizes[second] * wanted[third])


def _of_imagej(text: str) -> Image:
    """ImageJ counts channels first, then slices, then frames."""
    told = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    sizes = {axis: _count(told.get(name, "1")) for axis, name in (("c", "channels"), ("z", "slices"), ("t", "frames"))}
    if math.prod(sizes.values()) < _count(told.get("images", "1")):
        sizes = {"c": 1, "z": 1, "t": _count(told["images"])}
    return Image(sizes)


def _of_ome(text: str, key: str) -> list[Image]:
    """Raises HostileError for entities, DamagedError for XML that does not parse."""
    if re.search(r"<!(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise HostileError(f"the OME-XML of {key} declares entities", remedy="do not use this file")
    try:
        # Entities are what makes XML dangerous, and there are none.
        root = ET.fromstring(text)  # noqa: S314
    except ET.ParseError as error:
        raise DamagedError(f"the OME-XML of {key} does not parse: {error}", remedy="fetch the file again") from error
    wells = dict(_wells(root))
    found = [_image(element, wells, key) for element in root.iter() if _tag(element) == "Image"]
    if not found:
        raise DamagedError(f"the OME-XML of {key} describes no image; it may point to a companion file")
    return found


def _image(element: Element, wells: Mapping[str, tuple[str, str]], key: str) -> Image:
    pixels = next((child for child in element if _tag(child) == "Pixels"), None)
    if pixels is None:
        raise DamagedError(f"an image in the OME-XML of {key} has no pixels")
    told = [child for child in pixels if _tag(child) == "Channel"]
    samples = max([_count(channel.get("SamplesPerPixel", "1")) for channel in told], default=1)
    sizes = {axis: _count(pixels.get(f"Size{axis.upper()}", "1")) for axis in "ctz"}
    sizes["c"] = len(told) if samples > 1 else sizes["c"]
    order = pixels.get("DimensionOrder", "XYCZT")[2:].lower()
    if sorted(order) != ["c", "t", "z"] or math.prod(sizes.values()) > _PAGES:
        raise DamagedError(f"the OME-XML of {key} has the order {order!r} of sizes {sizes}")
    names = tuple(channel.get("Name") or channel.get("Fluor") or "" for channel in told)
    unique = all(names) and len(set(names)) == len(names) == sizes["c"]
    well, site = wells.get(element.get("ID", ""), ("", "1"))
    pages = dict(_pages(pixels, sizes, order, key))
    return Image(sizes, order, pages, 0, names if unique else (), _pixel_size(pixels), well, site)


def _pages(
    pixels: Element, sizes: Mapping[str, int], order: str, key: str
) -> Iterator[tuple[tuple[int, int, int], tuple[str, int]]]:
    """Where each plane lies, as the TiffData elements tell it (OME-TIFF specification, "The TiffData element")."""
    total = math.prod(sizes.values())
    for block in pixels:
        if _tag(block) != "TiffData":
            continue
        names = [child.get("FileName", "") for child in block if _tag(child) == "UUID"]
        name = inside(names[0], f"the OME-XML of {key}") if names and names[0] else ""
        start = _rank({axis: _count(block.get(f"First{axis.upper()}", "0")) for axis in "ctz"}, sizes, order)
        default = "1" if block.get("IFD") is not None else str(total - start)
        ifd = _count(block.get("IFD", "0"))
        for step in range(min(_count(block.get("PlaneCount", default)), total - start)):
            yield _place(start + step, sizes, order), (name, ifd + step)


def _place(rank: int, sizes: Mapping[str, int], order: str) -> tuple[int, int, int]:
    """c, t, z of the plane of this rank."""
    found = {}
    for axis in order:
        rank, found[axis] = divmod(rank, sizes[axis])
    return found["c"], found["t"], found["z"]


def _wells(root: Element) -> Iterator[tuple[str, tuple[str, str]]]:
    """Image id to well and site."""
    for well in (element for element in root.iter() if _tag(element) == "Well"):
        row, column = _count(well.get("Row", "0")), _count(well.get("Column", "0"))
        letters = (chr(64 + row // 26) if row >= 26 else "") + chr(65 + row % 26)
        samples = [sample for sample in well if _tag(sample) == "WellSample"]
        for site, sample in enumerate(samples, 1):
            for reference in sample:
                if _tag(reference) == "ImageRef":
                    yield reference.get("ID", ""), (f"{letters}{column + 1}", str(site))


def _pixel_size(pixels: Element) -> float | None:
    sizes = []
    for axis in ("Y", "X"):
        unit = _UNITS.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        try:
            sizes.append(float(pixels.get(f"PhysicalSize{axis}", "nan")) * (unit or math.nan))
        except ValueError:
            return None
    y, x = sizes
    return y if 0 < y < math.inf and abs(y - x) <= 0.01 * y else None


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise DamagedError(f"a TIFF description counts {text!r}")
    return int(text)


def _tag(element: Element) -> str:
    return element.tag.rpartition("}")[2]
