"""What OME-NGFF metadata says, checked rule by rule: multiscales, omero channels, plate and well.

Source: OME-NGFF 0.4 and 0.5, https://ngff.openmicroscopy.org/0.4 and /0.5.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phenostream.errors import DamagedError, NotFoundError, TooLargeError
from phenostream.formats import _memory
from phenostream.formats._places import inside, join
from phenostream.formats.limits import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phenostream.values import Store

VERSIONS = ("0.4", "0.5")
AXES = "tczyx"
# Micrometres in one unit, for the UDUNITS names that microscopes use.
_MICROMETRES = {
    "picometer": 1e-6, "angstrom": 1e-4, "nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3, "centimeter": 1e4,
    "meter": 1e6,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Multiscale:
    """One image in its resolutions.

    Attributes:
        axes: names in array order, each one of ``t``, ``c``, ``z``, ``y``, ``x``; the last two are ``y`` and ``x``.
        paths: the array of each resolution, finest first.
        pixel_sizes: micrometres a pixel of each resolution; None where the file does not say.
        channels: omero labels; empty where there are none.
        zarr_format: of the group, and so of its arrays.
    """

    axes: tuple[str, ...]
    paths: tuple[str, ...]
    pixel_sizes: tuple[float | None, ...]
    channels: tuple[str, ...] = ()
    zarr_format: int = 2


@dataclass(frozen=True, slots=True)
class Plate:
    """A plate: its name and the folders of its wells, in the order of the file."""

    name: str
    wells: tuple[str, ...]


def document(store: Store, key: str) -> dict[str, Any] | None:
    """The JSON object at `key`; None where there is no such blob. Raises DamagedError, TooLargeError."""
    return _memory.recall(store, "json", key, lambda: _document(store, key))


def _document(store: Store, key: str) -> dict[str, Any] | None:
    try:
        text = store.read(key, 0, DEFAULT.metadata_bytes)
    except NotFoundError:
        return None
    if len(text) >= DEFAULT.metadata_bytes:
        raise TooLargeError(f"metadata {key} is over the cap of {DEFAULT.metadata_bytes:,} bytes")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"metadata {key} is not JSON: {error}", remedy="fetch the file again") from error
    return _mapping(found, key)


def attributes(store: Store, group: str) -> dict[str, Any] | None:
    """The OME attributes of the group at key `group`, of Zarr v2 or v3; None where there is neither.

    Those of version 0.5 are taken out of their ``ome`` member, so that both versions read alike; ``zarr_format`` is
    added.
    """
    old = document(store, join(group, ".zattrs"))
    if old is not None:
        return {**old, "zarr_format": 2}
    new = document(store, join(group, "zarr.json"))
    if new is None:
        return None
    told = _mapping(_mapping(new.get("attributes", {}), group).get("ome", {}), group)
    _check_version(told, group)
    return {**told, "zarr_format": 3}


def multiscale(attrs: Mapping[str, Any], what: str) -> Multiscale:
    """The first multiscale image of a group's attributes. Raises DamagedError naming the broken rule."""
    scales = attrs.get("multiscales")
    if not isinstance(scales, list) or not scales:
        raise DamagedError(f"{what} has no multiscales entry", remedy="name an OME-Zarr image or plate")
    image = _mapping(scales[0], what)
    _check_version(image, what)
    axes = _axes(image, what)
    datasets = image.get("datasets")
    if not isinstance(datasets, list) or not datasets:
        raise DamagedError(f"{what} lists no datasets")
    common = _scale(image, axes, what, required=False)
    found = [_mapping(entry, what) for entry in datasets]
    sizes = [_pixel_size(image, axes, common, _scale(entry, axes, what, required=True)) for entry in found]
    paths = tuple(inside(_text(entry, "path", what), what) for entry in found)
    return Multiscale(axes, paths, tuple(sizes), _channels(attrs), attrs.get("zarr_format", 2))


def plate(attrs: Mapping[str, Any], what: str) -> Plate:
    """The plate of a group's attributes. Raises DamagedError naming the broken rule."""
    told = _mapping(attrs["plate"], what)
    _check_version(told, what)
    wells = told.get("wells")
    if not isinstance(wells, list):
        raise DamagedError(f"{what} lists no wells")
    paths = [inside(_text(_mapping(well, what), "path", what), what) for well in wells]
    if len(set(paths)) != len(paths):
        raise DamagedError(f"{what} lists a well twice")
    return Plate(str(told.get("name", "")), tuple(paths))


def well_images(attrs: Mapping[str, Any], what: str) -> tuple[str, ...]:
    """The image folders of a well's attributes. Raises DamagedError naming the broken rule."""
    well = _mapping(attrs.get("well"), f"well entry of {what}")
    _check_version(well, what)
    images = well.get("images")
    if not isinstance(images, list):
        raise DamagedError(f"{what} lists no images")
    return tuple(inside(_text(_mapping(image, what), "path", what), what) for image in images)


def _mapping(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DamagedError(f"{what} is not a JSON object")
    return value


def _text(entry: Mapping[str, Any], name: str, what: str) -> str:
    value = entry.get(name)
    if not isinstance(value, str):
        raise DamagedError(f"{what} has an entry without {name}")
    return value


def _check_version(entry: Mapping[str, Any], what: str) -> None:
    """Refuse a version that is not known; one that is not told is read as what the Zarr version implies."""
    version = entry.get("version", VERSIONS[0])
    if version not in VERSIONS:
        raise DamagedError(
            f"{what} is OME-NGFF version {version}; {' and '.join(VERSIONS)} can be read",
            remedy="convert it, for example with ome-zarr-py",
        )


def _axes(image: Mapping[str, Any], what: str) -> tuple[str, ...]:
    told = image.get("axes")
    if not isinstance(told, list):
        raise DamagedError(f"{what} names no axes")
    axes = tuple(_text(_mapping(axis, what), "name", what) for axis in told)
    if len(set(axes)) != len(axes) or axes[-2:] != ("y", "x") or not set(axes) <= set(AXES):
        raise DamagedError(f"{what} has axes {axes}; they must be some of t, c, z and then y, x")
    return axes


def _scale(entry: Mapping[str, Any], axes: Sequence[str], what: str, *, required: bool) -> list[float]:
    """Factors of the scale transformation, one an axis; ones where there is none and none is required."""
    for step in entry.get("coordinateTransformations") or []:
        if _mapping(step, what).get("type") == "scale":
            factors = step.get("scale")
            numbers = isinstance(factors, list) and all(type(factor) in (int, float) for factor in factors)
            if not numbers or len(factors) != len(axes) or not all(0 < factor < math.inf for factor in factors):
                raise DamagedError(f"{what} has the scale {factors}; it must hold {len(axes)} positive numbers")
            return [float(factor) for factor in factors]
    if required:
        raise DamagedError(f"{what} has a dataset without a scale")
    return [1.0] * len(axes)


def _pixel_size(
    image: Mapping[str, Any], axes: Sequence[str], common: Sequence[float], own: Sequence[float]
) -> float | None:
    """Micrometres a pixel; None without a unit, or where Y and X differ by more than 1 %."""
    sizes = []
    for axis in ("y", "x"):
        position = axes.index(axis)
        unit = _MICROMETRES.get(str(image["axes"][position].get("unit", "")))
        sizes.append(common[position] * own[position] * unit if unit else None)
    y, x = sizes
    return y if y and x and abs(y - x) <= 0.01 * max(y, x) else None


def _channels(attrs: Mapping[str, Any]) -> tuple[str, ...]:
    """Labels of the omero channels; none at all where one is missing or two are the same."""
    omero = attrs.get("omero")
    told = omero.get("channels") if isinstance(omero, dict) else None
    entries = told if isinstance(told, list) else []
    names = tuple(str(entry.get("label", "")) if isinstance(entry, dict) else "" for entry in entries)
    return names if all(names) and len(set(names)) == len(names) else ()
