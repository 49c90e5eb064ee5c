"""Fields, planes and labels of CellH5 files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phenostream.errors import EmptyError, NotFoundError
from phenostream.formats import attach
from phenostream.formats.cellh5.position import Position, positions
from phenostream.formats.limits import DEFAULT, Limits
from phenostream.values import Channel, Field, FieldId, Plane

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from phenostream.formats.cellh5.position import Summary
    from phenostream.values import Container, Store


def fields(store: Store, container: Container) -> Iterator[Field]:
    """Every frame and z of every position, in the order plate, well, site, time, z.

    The plate is named by the container, or by its folder in the file; so is the well (a number is taken for the
    row-major place among 384).

    Raises:
        NotFoundError: no such file, or no position in it.
        EmptyError: a movie without frames or pixels.
        DamagedError: truncated, or not CellH5.
    """
    found = positions(store, container.key)
    if not found:
        raise NotFoundError(f"{container.key} holds no position", remedy="check that it is a CellH5 file")
    for position in found:
        yield from _movie(container, position, position.summary(), store)


def read(store: Store, plane: Plane, *, limits: Limits = DEFAULT) -> NDArray[Any]:
    """The pixels (Y, X) of one plane, in the dtype of the file.

    Touches the metadata on the way to the plane and the chunks under it (a chunk of several planes as a whole; of an
    image without chunks just the plane).

    Raises:
        NotFoundError: no such file or position, or a frame that was never written.
        OutOfRangeError: channel, frame or z is outside the movie.
        DamagedError: truncated, corrupt, a wrong checksum.
        HostileError: links and storage outside the file, filters that are plug-ins.
        TooLargeError: a claimed size over `limits`.
        WrongDtypeError: pixels that are not integers to 32 bits or float32.
    """
    return _position(store, plane).plane(plane.c, plane.t, plane.z, limits=limits)


def touch(store: Store, plane: Plane) -> None:
    """Read the bytes of `plane` as `read` does, and decode none of them."""
    _position(store, plane).touch(plane.c, plane.t, plane.z)


def labels(store: Store, plane: Plane, name: str = "") -> NDArray[np.int32]:
    """The label image (Y, X) of region `name` (the first one where empty) in the frame of `plane`."""
    position = _position(store, plane)
    return position.labels(position.region(name).name, plane.t, plane.z)


def _position(store: Store, plane: Plane) -> Position:
    """The position that the plane names, or the only one of the file."""
    if plane.inner:
        return Position(store, plane.key, plane.inner)
    found = positions(store, plane.key)
    if len(found) != 1:
        raise NotFoundError(f"{plane.key} holds {len(found)} positions", remedy="name one in Plane.inner")
    return found[0]


def _movie(container: Container, position: Position, summary: Summary, store: Store) -> Iterator[Field]:
    c_size, t_size, z_size = summary.shape[:3]
    if 0 in summary.shape:
        raise EmptyError(
            f"{position.path} of {container.key} has shape {summary.shape}", remedy="leave this movie out"
        ).at(plate=container.plate or position.plate, well=container.well or position.well)
    for t in range(t_size):
        for z in range(z_size):
            planes = tuple(Plane(container.key, "cellh5", position.path, c, t, z) for c in range(c_size))
            identity = FieldId(
                container.study, container.plate or position.plate, container.well or position.well, position.site, t, z
            )
            yield attach(Field(identity, _channels(summary), planes, summary.pixel_size), store)


def _channels(summary: Summary) -> tuple[Channel, ...]:
    """Names as the file defines them; ``DNA`` for a single channel without, else numbers from 0."""
    count = summary.shape[0]
    names = [name for name, _ in summary.channels]
    if len(names) == count and all(names) and len(set(names)) == count:
        return tuple(Channel(name, stain) for name, stain in summary.channels)
    return (Channel("DNA"),) if count == 1 else tuple(Channel(f"Channel{number}") for number in range(count))
