"""Bytes to arrays and back: every reader takes its bytes from a Store, so that local, HTTP and S3 are the same.

A reader is a module of this folder (``formats/png.py`` is what ``format: png`` names) or an entry point of the group
``phenostream.readers``. It has two functions, ``fields(store, container)`` and ``read(store, plane)``, and may have two
more: ``touch(store, plane)`` moves the same bytes and decodes nothing, ``labels(store, plane, name)`` gives the regions
that the file itself holds.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache, partial
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Protocol, cast

from phenostream.errors import EmptyError, NotFoundError, PhenostreamError, RecipeError, WrongShapeError
from phenostream.formats import _memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from phenostream.values import Container, Field, Plane, Store

__all__ = ["VERSION", "Reader", "attach", "fields", "labels", "names", "read", "reader", "together", "touch"]

#: Changes when the same bytes would decode to other pixels.
VERSION = 1

_GROUP = "phenostream.readers"


class Reader(Protocol):
    """What a module of this folder, or an entry point, must offer."""

    def fields(self, store: Store, container: Container) -> Iterator[Field]:
        """All fields of a container, with planes and pixels attached, in natural order."""
        ...

    def read(self, store: Store, plane: Plane) -> NDArray[Any]:
        """The pixels (Y, X) of one plane."""
        ...


def names() -> list[str]:
    """The formats that can be read, sorted."""
    own = {module.name for module in iter_modules(__path__) if not module.name.startswith("_")} - {"limits"}
    return sorted(own | {point.name for point in entry_points(group=_GROUP)})


@cache
def reader(name: str) -> Reader:
    """The reader called `name`. Raises RecipeError with the names there are."""
    if name not in names():
        raise RecipeError(f"no reader for format {name!r}", remedy=f"use one of: {', '.join(names())}")
    for point in entry_points(group=_GROUP, name=name):
        return cast("Reader", point.load())
    return cast("Reader", import_module(f"{__name__}.{name}"))


def __getattr__(name: str) -> Any:
    # `formats.png.write` without an import of its own; readers are loaded on first use.
    if not name.startswith("_") and name in {module.name for module in iter_modules(__path__)}:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def read(store: Store, plane: Plane) -> NDArray[Any]:
    """The pixels (Y, X) of `plane`, in the dtype of the file; only the bytes of this plane are read.

    Raises:
        NotFoundError: the file, image or chunk is not there.
        DamagedError: truncated or corrupt.
        HostileError: links out of the file, path escapes, plug-in code.
        TooLargeError: a claimed size over the cap.
        OutOfRangeError: no such channel, frame or z plane.
        EmptyError: an image without pixels.
        WrongDtypeError: float64, complex, bool and the like.
    """
    try:
        return reader(plane.format).read(store, plane)
    except PhenostreamError as error:
        error.at(file=plane.key, inner=plane.inner)
        raise


def touch(store: Store, plane: Plane) -> None:
    """Move the bytes of `plane` without decoding them (readers without a touch of their own read it)."""
    found = reader(plane.format)
    getattr(found, "touch", found.read)(store, plane)


def fields(store: Store, container: Container) -> Iterator[Field]:
    """All fields of `container`, in natural order, each ready to be read."""
    return reader(container.format).fields(store, container)


def attach(field: Field, store: Store) -> Field:
    """`field` reading its pixels (C, Y, X) from `store`; it can be pickled where the store can."""
    return field.with_pixels(partial(_stack, store, field.planes))


@contextmanager
def together(fields: Iterable[Field]) -> Iterator[None]:
    """While these fields are read, in any order: images that can be read only with their neighbours are read once.

    It makes a difference for containers that give a block of many images at a time, such as Parquet files. What was
    read beside an image waits in memory, as it is stored, until its own field is read.
    """
    with _memory.together((store, plane) for field in fields for store, plane in _planes_of(field)):
        yield


def _planes_of(field: Field) -> Iterator[tuple[Store, Plane]]:
    pixels = field.pixels
    if isinstance(pixels, partial) and pixels.func is _stack:
        store, planes = pixels.args
        yield from ((store, plane) for plane in planes)


def labels(field: Field, name: str = "") -> NDArray[np.int32]:
    """The label image (Y, X) int32 that the file of `field` itself holds, as `attach` left the field.

    Args:
        field: one with pixels attached by this room.
        name: region (CellH5) or label group (OME-Zarr); the first one where empty.

    Raises:
        NotFoundError: the format or this file has no such labels.
    """
    store, planes = _source(field)
    found = getattr(reader(planes[0].format), "labels", None)
    if found is None:
        raise NotFoundError(f"format {planes[0].format!r} holds no label images", remedy="segment the images instead")
    return cast("NDArray[np.int32]", found(store, planes[0], name))


def _source(field: Field) -> tuple[Store, tuple[Plane, ...]]:
    pixels = field.pixels
    if isinstance(pixels, partial) and pixels.func is _stack and field.planes:
        return pixels.args
    raise NotFoundError(f"field {field.id} was not read from a file", remedy="attach it to its store first")


def _stack(store: Store, planes: tuple[Plane, ...]) -> NDArray[Any]:
    """The planes as one array (C, Y, X)."""
    import numpy as np  # noqa: PLC0415  (the command line lists formats without it)

    if not planes:
        raise EmptyError("a field without planes has no pixels", remedy="check the catalog that made it")
    with _memory.session(), _memory.together((store, plane) for plane in planes):
        found = [read(store, plane) for plane in planes]
    if len({plane.shape for plane in found}) > 1:
        raise WrongShapeError(f"channels of one field differ in shape: {[plane.shape for plane in found]}")
    return np.stack(found)
