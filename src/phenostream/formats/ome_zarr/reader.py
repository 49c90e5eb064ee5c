"""Fields, planes and labels of OME-Zarr plates and images."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from phenostream.errors import DamagedError, NotFoundError
from phenostream.formats import attach
from phenostream.formats._places import check_index, inside, join, well_name
from phenostream.formats.limits import DEFAULT, LABEL_TYPES, Limits, check_dtype
from phenostream.formats.ome_zarr import arrays, metadata
from phenostream.values import Channel, Field, FieldId, Plane

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from phenostream.formats.ome_zarr.metadata import Multiscale
    from phenostream.values import Container, Store


@dataclass(frozen=True, slots=True)
class _Image:
    """An image group found: its key, what it says, and the number of the resolution asked for."""

    key: str
    scales: Multiscale
    level: int

    @property
    def array_key(self) -> str:
        return join(self.key, self.scales.paths[self.level])


def fields(store: Store, container: Container) -> Iterator[Field]:
    """Every field of a plate (wells, then images, times, z) or of a single image, finest resolution.

    Metadata is read as the iteration goes: per well its own, per image two documents. Sites count from 1, in the
    order in which the well lists its images. A folder in the layout of bioformats2raw without a plate gives one site an
    image.

    Raises:
        NotFoundError: no OME-Zarr there, or a listed well or image is missing.
        DamagedError: metadata that breaks a rule of the specification; the message names it.
    """
    attrs = _group(store, container.key)
    if "plate" in attrs:
        yield from _plate_fields(store, container, metadata.plate(attrs, container.key or "the plate"))
    elif "multiscales" in attrs:
        yield from _image_fields(store, container, "", container.well, "1")
    elif "bioformats2raw.layout" in attrs:
        for site, path in enumerate(_series(store, container.key), 1):
            yield from _image_fields(store, container, path, container.well, str(site))
    else:
        metadata.multiscale(attrs, container.key or "the root")


def read(store: Store, plane: Plane, *, limits: Limits = DEFAULT) -> NDArray[Any]:
    """The pixels (Y, X) of one plane, in the dtype of the file and native byte order.

    Touches the attributes of the image, the metadata of the array and the chunks under the plane (of a shard: its
    index and these chunks).

    Raises:
        NotFoundError: well, image, resolution or chunk is not there.
        OutOfRangeError: channel, frame or z is outside the image.
        WrongDtypeError: pixels that are not integers to 32 bits or float32.
        DamagedError: chunks or metadata that do not decode.
        HostileError: paths that leave the folder, codecs outside the list.
        TooLargeError: a claimed size over `limits`.
    """
    array, index = _select(store, plane)
    dtype = check_dtype(array.dtype, f"array {array.key}")
    found = arrays.decode(array, arrays.fetch(store, array, index, limits=limits), index)
    return np.ascontiguousarray(found, dtype)


def touch(store: Store, plane: Plane) -> None:
    """Read the bytes of `plane` as `read` does, and decode nothing but metadata."""
    array, index = _select(store, plane)
    arrays.fetch(store, array, index)


def labels(store: Store, plane: Plane, name: str = "", *, limits: Limits = DEFAULT) -> NDArray[np.int32]:
    """The label image (Y, X) that belongs to `plane`: of the label group `name`, of the first one where empty.

    Raises:
        NotFoundError: the image has no labels of that name.
        WrongDtypeError: labels that are not integers.
    """
    image = _find_image(store, plane)
    known = _label_names(store, image)
    if not known or (name and name not in known):
        raise NotFoundError(
            f"image {image.key} has no label image {name!r}; it has: {', '.join(known) or 'none'}",
            remedy="name one of them, or segment the images",
        )
    key = join(image.key, "labels", name or known[0])
    scales = metadata.multiscale(_group(store, key), key)
    array, index = _select_in(store, _Image(key, scales, min(image.level, len(scales.paths) - 1)), plane, label=True)
    check_dtype(array.dtype, f"label image {key}", LABEL_TYPES)
    return arrays.decode(array, arrays.fetch(store, array, index, limits=limits), index).astype(np.int32)


def _group(store: Store, key: str) -> Mapping[str, Any]:
    attrs = metadata.attributes(store, key)
    if attrs is None:
        raise NotFoundError(f"no OME-Zarr group at {key or 'the root'}", remedy="check plate, well and site")
    return attrs


def _plate_fields(store: Store, container: Container, plate: metadata.Plate) -> Iterator[Field]:
    for path in plate.wells:
        well = well_name(path)
        if container.well and container.well != well:
            continue
        images = metadata.well_images(_group(store, join(container.key, path)), f"well {path}")
        for site, image in enumerate(images, 1):
            yield from _image_fields(store, container, join(path, image), well, str(site), plate.name)


def _series(store: Store, key: str) -> Iterator[str]:
    """Image folders of a bioformats2raw layout: as its OME group lists them, else 0, 1, 2 ... while they are there."""
    listed = (metadata.attributes(store, join(key, "OME")) or {}).get("series")
    if isinstance(listed, list):
        yield from (inside(str(path), f"series of {key}") for path in listed)
        return
    for number in count():
        if metadata.attributes(store, join(key, str(number))) is None:
            return
        yield str(number)


def _image_fields(
    store: Store, container: Container, path: str, well: str, site: str, plate: str = ""
) -> Iterator[Field]:
    key = join(container.key, path)
    image = _Image(key, metadata.multiscale(_group(store, key), key or "the image"), 0)
    sizes = _sizes(image.scales, _array(store, image))
    inner = join(path, image.scales.paths[0])
    channels = _channels(image.scales, sizes["c"])
    name = container.plate or plate or container.key.rpartition("/")[2].partition(".")[0]
    for t in range(sizes["t"]):
        for z in range(sizes["z"]):
            planes = tuple(Plane(container.key, "ome_zarr", inner, c, t, z) for c in range(sizes["c"]))
            identity = FieldId(container.study, name, well, site, t, z)
            yield attach(Field(identity, channels, planes, image.scales.pixel_sizes[0]), store)


def _channels(scales: Multiscale, length: int) -> tuple[Channel, ...]:
    """Omero labels where there is one for each channel; ``DNA`` for a single one, else numbers from 0."""
    numbered = ("DNA",) if length == 1 else tuple(f"Channel{number}" for number in range(length))
    names = scales.channels if len(scales.channels) == length else numbered
    return tuple(Channel(name) for name in names)


def _array(store: Store, image: _Image) -> arrays.Array:
    array = arrays.open_array(store, image.array_key, image.scales.zarr_format)
    if array is None:
        raise NotFoundError(f"no array at {image.array_key}", remedy="check the image or its resolution")
    if len(array.shape) != len(image.scales.axes):
        raise DamagedError(f"array {array.key} has {len(array.shape)} axes, its image names {image.scales.axes}")
    return array


def _sizes(scales: Multiscale, array: arrays.Array) -> dict[str, int]:
    """Length of each of the five axes; 1 where the image has no such axis."""
    return dict.fromkeys(metadata.AXES, 1) | dict(zip(scales.axes, array.shape, strict=True))


def _select(store: Store, plane: Plane) -> tuple[arrays.Array, tuple[int | slice, ...]]:
    return _select_in(store, _find_image(store, plane), plane)


def _select_in(
    store: Store, image: _Image, plane: Plane, *, label: bool = False
) -> tuple[arrays.Array, tuple[int | slice, ...]]:
    """The array and the index of `plane` in it; labels without a channel axis, or with a single one, serve all."""
    array = _array(store, image)
    sizes = _sizes(image.scales, array)
    channel = 0 if label and sizes["c"] == 1 else plane.c
    wanted = {"t": plane.t, "c": channel, "z": plane.z}
    for axis, value in wanted.items():
        check_index(value, sizes[axis], axis, f"image {image.key}")
    return array, tuple(wanted.get(axis, slice(None)) for axis in image.scales.axes)


def _find_image(store: Store, plane: Plane) -> _Image:
    """The image that `plane.inner` names: as the array of one resolution, or as the group itself."""
    above, _, last = plane.inner.rpartition("/")
    for group, name in ((above, last), (plane.inner, "")):
        attrs = metadata.attributes(store, join(plane.key, group)) if name or group == plane.inner else None
        if attrs and "multiscales" in attrs:
            key = join(plane.key, group)
            scales = metadata.multiscale(attrs, key or "the image")
            if name in ("", *scales.paths):
                return _Image(key, scales, scales.paths.index(name) if name else 0)
    raise _absent(store, plane)


def _absent(store: Store, plane: Plane) -> NotFoundError:
    """Says how far the path is there: plate, well or image."""
    attrs = metadata.attributes(store, plane.key)
    if attrs is None:
        return NotFoundError(f"no plate or image at {plane.key or 'the root'}", remedy="check the plate")
    if "plate" in attrs:
        wells = metadata.plate(attrs, plane.key).wells
        well = "/".join(plane.inner.split("/")[:2])
        if well not in wells:
            return NotFoundError(f"plate {plane.key} has no well {well}; it has {len(wells)}", remedy="check the well")
    return NotFoundError(f"no image or resolution {plane.inner!r} in {plane.key}", remedy="check site and resolution")


def _label_names(store: Store, image: _Image) -> tuple[str, ...]:
    told = (metadata.attributes(store, join(image.key, "labels")) or {}).get("labels")
    return tuple(inside(str(name), f"labels of {image.key}") for name in told) if isinstance(told, list) else ()
