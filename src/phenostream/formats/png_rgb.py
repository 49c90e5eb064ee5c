"""Colour PNG sites: one picture whose red, green and blue are three channels, as in WILDS' copy of RxRx1.

`Plane.key` is the file, `Plane.c` the sample; t and z must be 0. Which stain a colour stands for is the catalog's to
say. Pictures of one sample are `png`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from phenostream.errors import WrongShapeError
from phenostream.formats import _memory, attach, png
from phenostream.formats._places import check_index
from phenostream.formats.limits import DEFAULT, Limits
from phenostream.values import Channel, Field, FieldId, Plane

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from phenostream.values import Container, Store

_COLOURS = ("Red", "Green", "Blue")

touch = png.touch


def fields(store: Store, container: Container) -> Iterator[Field]:
    """The one field of a file, its channels named ``Red``, ``Green``, ``Blue``. Raises NotFoundError, DamagedError."""
    png.check_header(store.read(container.key, 0, 33), container.key)
    identity = FieldId(container.study, container.plate, container.well)
    planes = tuple(Plane(container.key, "png_rgb", c=c) for c in range(3))
    yield attach(Field(identity, tuple(map(Channel, _COLOURS)), planes), store)


def read(store: Store, plane: Plane, *, limits: Limits = DEFAULT) -> NDArray[Any]:
    """The pixels (Y, X) of one colour, uint8 or uint16; the channels of one field share a reading.

    Raises:
        NotFoundError: no such file.
        OutOfRangeError: c is not 0 to 2, or t or z not 0.
        DamagedError: truncated, or a checksum does not fit.
        TooLargeError: the header claims more than `limits` allow.
        WrongShapeError: a grey picture, or transparency.
    """
    for axis, value, length in (("c", plane.c, 3), ("t", plane.t, 1), ("z", plane.z, 1)):
        check_index(value, length, axis, plane.key)
    found = _memory.recall(store, "png_rgb", plane.key, lambda: png.picture(store, plane.key, limits=limits))
    return np.ascontiguousarray(_colours(found, plane.key)[..., plane.c])


def _colours(picture: NDArray[Any], key: str) -> NDArray[Any]:
    samples = picture.shape[2] if picture.ndim == 3 else 1
    if samples < 3:
        raise WrongShapeError(f"{key} is grey: no three channels are in it", remedy="read it as format png")
    if samples == 4 and (picture[..., 3] != np.iinfo(picture.dtype).max).any():
        raise WrongShapeError(f"{key} is partly transparent", remedy="save it without alpha")
    return picture[..., :3]
