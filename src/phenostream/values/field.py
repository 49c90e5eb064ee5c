"""Fields: one acquired image, its identity, and pixels that are read only when asked for."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from phenostream.errors import ChannelMissingError, EmptyError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Pixels = Callable[[], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel: the name used in columns and recipes (``DNA``), and the stain where known (``Hoechst``)."""

    name: str
    stain: str = ""


@dataclass(frozen=True, slots=True)
class FieldId:
    """Which image this is. `time` and `z` count from 0, whatever the archive's own tables do.

    Well names are row letters and an unpadded column number (``A4``).
    """

    study: str = ""
    plate: str = ""
    well: str = ""
    site: str = "1"
    time: int = 0
    z: int = 0

    def __str__(self) -> str:
        return f"{self.plate or '-'} {self.well or '-'} site {self.site} frame {self.time + 1}"


@dataclass(frozen=True, slots=True)
class Plane:
    """Where the pixels of one channel of one field lie.

    Attributes:
        key: blob or folder, relative to the root of the catalog's store.
        format: name of the reader (``ome_zarr``, ``cellh5``, ``tiff``, ``png``).
        inner: place inside the container (an image ``A/4/0/0`` of a Zarr plate, a position path of a CellH5 file).
        c: channel index, from 0.
        t: time index, from 0.
        z: z index, from 0.
    """

    key: str
    format: str
    inner: str = ""
    c: int = 0
    t: int = 0
    z: int = 0


@dataclass(frozen=True, slots=True)
class Container:
    """A file or folder that holds many fields, to be expanded by its reader; `study` and `plate` are handed down.

    `plate` may be empty where the container itself names its plate.
    """

    key: str
    format: str
    study: str = ""
    plate: str = ""
    well: str = ""


@dataclass(frozen=True, slots=True)
class Field:
    """One acquired image of one or more channels.

    Attributes:
        id: identity (study, plate, well, site, time, z).
        channels: in the order of the first axis of the pixels.
        planes: where each channel's pixels lie; empty for an image made from an array.
        pixel_size: micrometres a pixel (Y and X alike), None where unknown.
        annotation: what the archive's tables say of it (gene, control type, dose); string values, plain keys.
        pixels: gives the array (C, Y, X) when called; not part of the identity.
    """

    id: FieldId
    channels: tuple[Channel, ...] = (Channel("DNA"),)
    planes: tuple[Plane, ...] = ()
    pixel_size: float | None = None
    annotation: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    pixels: Pixels | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, image: NDArray[Any], channels: Sequence[str] = ("DNA",), *, id: FieldId | None = None) -> Field:  # noqa: A002
        """The field of an array (Y, X) or (C, Y, X)."""
        array = np.asarray(image)
        stack = array[None] if array.ndim == 2 else array
        return cls(id or FieldId(), tuple(Channel(name) for name in channels), pixels=lambda: stack)

    def read(self) -> NDArray[Any]:
        """The pixels (C, Y, X), in the dtype of the source. Raises EmptyError where no pixels are attached."""
        if self.pixels is None:
            raise EmptyError(f"field {self.id} has no pixels attached").at(plate=self.id.plate, well=self.id.well)
        return self.pixels()

    def index(self, channel: str) -> int:
        """Position of the channel named `channel`. Raises ChannelMissingError."""
        for position, known in enumerate(self.channels):
            if known.name == channel:
                return position
        names = ", ".join(known.name for known in self.channels) or "none"
        raise ChannelMissingError(f"no channel {channel!r} among: {names}", remedy="name one of them in the recipe").at(
            plate=self.id.plate, well=self.id.well
        )

    def with_pixels(self, pixels: Pixels) -> Field:
        """The same field reading its pixels from `pixels`."""
        return dataclasses.replace(self, pixels=pixels)

    def __reduce__(self) -> tuple[Any, ...]:
        # A read-only mapping cannot be pickled as it is; pixels travel only where their callable can.
        return _field, (self.id, self.channels, self.planes, self.pixel_size, dict(self.annotation), self.pixels)


def _field(*parts: Any) -> Field:
    id_, channels, planes, pixel_size, annotation, pixels = parts
    return Field(id_, channels, planes, pixel_size, MappingProxyType(annotation), pixels)
