"""Fields and planes of TIFF files. tifffile finds the pages; strips and tiles are fetched and checked here."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, TypeVar, cast

import tifffile

from phenostream.errors import DamagedError, OutOfRangeError, PhenostreamError
from phenostream.formats import _memory, attach
from phenostream.formats._grey import grey
from phenostream.formats._places import check_index, join
from phenostream.formats.limits import DEFAULT, Limits
from phenostream.formats.tiff import description, pages
from phenostream.formats.tiff.file import StoreFile
from phenostream.values import Channel, Field, FieldId, Plane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from phenostream.values import Container, Store

T = TypeVar("T")
_FETCH_AGAIN = "fetch the file again, or tell whoever keeps it"


def fields(store: Store, container: Container) -> Iterator[Field]:
    """Every field of a file: images, then times, then z. Pages of a plain TIFF are times of one image.

    Wells, sites, channels and pixel size come from the OME-XML where it has them; the container goes before it.

    Raises:
        NotFoundError: no such file.
        DamagedError: not a TIFF, or a description that contradicts itself.
        HostileError: XML entities.
    """
    for image in _ask(_open(store, container.key), container.key, lambda tif: _images(tif, container.key)):
        for t in range(image.sizes["t"]):
            for z in range(image.sizes["z"]):
                yield attach(_field(container, image, t, z), store)


def read(store: Store, plane: Plane, *, limits: Limits = DEFAULT) -> NDArray[Any]:
    """The pixels (Y, X) of one page, in native byte order.

    Touches the chain of page headers up to this page and its strips or tiles; a file up to 128 KiB comes whole.

    Raises:
        NotFoundError: no such file.
        OutOfRangeError: no such page, channel, frame or z.
        DamagedError: truncated, or a page whose strips do not hold what it says.
        TooLargeError: a page that claims more than `limits` allow.
        WrongDtypeError: pixels that are not integers to 32 bits or float32.
        WrongShapeError: real colours.
    """
    file = _open(store, plane.key)
    page = _page(file, plane, limits)
    return grey(pages.decoded(page, pages.stored(file, page)), plane.key)


def touch(store: Store, plane: Plane) -> None:
    """Read the bytes of `plane` as `read` does, and decode nothing."""
    file = _open(store, plane.key)
    pages.stored(file, _page(file, plane, DEFAULT))


def _field(container: Container, image: description.Image, t: int, z: int) -> Field:
    planes = []
    for c in range(image.sizes["c"]):
        name, page = image.page(c, t, z, container.key)
        key = join(container.key.rpartition("/")[0], name) if name else container.key
        planes.append(Plane(key, "tiff", f"page/{page}", c, t, z))
    well, site = container.well or image.well, image.site
    names = image.channels or (("DNA",) if len(planes) == 1 else tuple(f"Channel{c}" for c in range(len(planes))))
    identity = FieldId(container.study, container.plate, well, site, t, z)
    return Field(identity, tuple(Channel(name) for name in names), tuple(planes), image.pixel_size)


def _open(store: Store, key: str) -> StoreFile:
    return _memory.recall(store, "tiff", key, lambda: StoreFile(store, key))


def _ask(file: StoreFile, key: str, action: Callable[[tifffile.TiffFile], T]) -> T:
    """What `action` says of the open file; whatever tifffile objects to is damage."""
    file.seek(0)
    try:
        with tifffile.TiffFile(cast("IO[bytes]", file), name=key) as tif:
            return action(tif)
    except PhenostreamError:
        raise
    except Exception as error:
        raise DamagedError(f"{key} cannot be read as TIFF: {error}", remedy=_FETCH_AGAIN) from error


def _images(tif: tifffile.TiffFile, key: str) -> list[description.Image]:
    return description.images(_page_at(tif, 0, key).description, len(tif.pages), key)


def _page_at(tif: tifffile.TiffFile, number: int, key: str) -> Any:
    try:
        return tif.pages[number]
    except IndexError:
        raise OutOfRangeError(f"{key} has {len(tif.pages)} pages, no page {number} (they count from 0)") from None


def _number(tif: tifffile.TiffFile, plane: Plane) -> int:
    """Page of the plane: as it names it, or as the description tells."""
    kind, _, text = plane.inner.partition("/")
    if kind == "page" and text.isdecimal():
        return int(text)
    if plane.inner and not (kind == "image" and text.isdecimal()):
        raise OutOfRangeError(f"{plane.key} has no {plane.inner!r}", remedy="use page/0, image/0 or nothing")
    images = _images(tif, plane.key)
    image = images[check_index(int(text or 0), len(images), "image", plane.key)]
    name, number = image.page(plane.c, plane.t, plane.z, plane.key)
    if name not in ("", plane.key.rpartition("/")[2]):
        raise OutOfRangeError(f"this plane of {plane.key} lies in {name}", remedy="use the planes that fields() gives")
    return number


def _page(file: StoreFile, plane: Plane, limits: Limits) -> pages.Page:
    """The page of `plane`, described and checked."""

    def look(tif: tifffile.TiffFile) -> pages.Page:
        return pages.described(_page_at(tif, _number(tif, plane), plane.key), plane.key, file.size, limits)

    return _ask(file, plane.key, look)
