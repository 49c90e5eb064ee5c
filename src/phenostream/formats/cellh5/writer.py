"""Writes CellH5 files in the layout of CellCognition's own: one plane a chunk, gzip, every group optional."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from phenostream.errors import WrongShapeError
from phenostream.formats._places import inside
from phenostream.formats.cellh5.position import ROOT
from phenostream.formats.limits import PIXEL_TYPES, check_dtype

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

_NAME = np.dtype([("name", "S512")])
_KIND = np.dtype([("name", "S512"), ("type", "S512"), ("source1", "S512"), ("source2", "S512")])
_CHANNEL = np.dtype(
    [
        ("channel_name", "S50"),
        ("description", "S100"),
        ("is_physical", "?"),
        ("voxel_size", "<f8", (3,)),
        ("color", "S7"),
    ]
)
_REGION = np.dtype([("region_name", "S50"), ("channel_idx", "<i4")])
_OBJECT = np.dtype([("time_idx", "<i4"), ("obj_label_id", "<i4")])
_PLANE = np.dtype([("object_idx", "<i4"), ("time_idx", "<i4"), ("channel_idx", "<i4"), ("zsclice_idx", "<i4")])
_CENTER = np.dtype([("x", "<i4"), ("y", "<i4")])
_BOX = np.dtype([("left", "<i4"), ("right", "<i4"), ("top", "<i4"), ("bottom", "<i4")])
_TRACK = np.dtype([("obj_idx1", "<u4"), ("obj_idx2", "<u4")])
_CLASS = np.dtype([("label", "<i4"), ("name", "S100"), ("color", "S9")])
_CHOICE = np.dtype([("label_idx", "<i4")])
_TIME = np.dtype([("frame", "<i4"), ("timestamp_abs", "<f8"), ("timestamp_rel", "<f8")])


@dataclass(frozen=True, slots=True, eq=False)
class Segmented:
    """The objects of one region of a movie. Rows are objects, frame by frame, labels ascending, as in `rows`.

    Attributes:
        labels: (T, Z, Y, X) or (T, Y, X), unsigned integers, 0 is background.
        channel: index of the channel they were found in.
        features: (objects, F) by the names of `feature_names`.
        feature_names: one a feature.
        classes: names of the classes that `predictions` count in.
        predictions: (objects,) class of each object, -1 for none.
        probabilities: (objects, classes).
    """

    labels: NDArray[Any]
    channel: int = 0
    features: NDArray[Any] | None = None
    feature_names: Sequence[str] = ()
    classes: Sequence[str] = ()
    predictions: NDArray[Any] | None = None
    probabilities: NDArray[Any] | None = None

    def stack(self) -> NDArray[Any]:
        """Labels as (T, Z, Y, X)."""
        return self.labels[:, None] if self.labels.ndim == 3 else self.labels

    def rows(self) -> NDArray[np.int64]:
        """(objects, 8): frame, label, centre x and y (rounded), left, right, top, bottom (inclusive), in px."""
        found = [_rows_of(t, frame.max(axis=0)) for t, frame in enumerate(self.stack())]
        return np.concatenate([*found, np.empty((0, 8), np.int64)])


@dataclass(frozen=True, slots=True, eq=False)
class Movie:
    """One position.

    Attributes:
        pixels: (C, T, Z, Y, X).
        plate: name of the plate's folder.
        well: name of the well's folder (``00004`` in the MitoCheck archive).
        site: name of the position's folder.
        regions: segmented objects by the name of their region (``primary__primary``).
        tracks: (N, 2) rows of the first region's objects: from, to.
        timestamps: (T,) seconds since the first frame.
    """

    pixels: NDArray[Any]
    plate: str = "plate"
    well: str = "00001"
    site: str = "01"
    regions: Mapping[str, Segmented] = field(default_factory=lambda: MappingProxyType({}))
    tracks: NDArray[Any] | None = None
    timestamps: NDArray[Any] | None = None


def write(
    path: Path | str,
    movies: Movie | Iterable[Movie],
    *,
    channels: Sequence[str] = (),
    pixel_size: float | None = None,
    gzip: int | None = 4,
    chunked: bool = True,
) -> None:
    """Write movies into one CellH5 file (replaced where it exists). The same input gives the same bytes.

    Args:
        path: of the file.
        movies: positions; regions and channels are defined by the first one.
        channels: names; numbered where there are fewer than channels.
        pixel_size: micrometres a pixel.
        gzip: level 0 to 9, None for no compression.
        chunked: one chunk a plane; False for images in one piece (never compressed).

    Raises:
        WrongShapeError: pixels that are not (C, T, Z, Y, X), or tables that do not fit their labels.
        WrongDtypeError: pixels that no reader of this package takes.
    """
    positions = [movies] if isinstance(movies, Movie) else list(movies)
    packing = {"compression": "gzip", "compression_opts": gzip} if gzip is not None else {}
    # Metadata that lies together is read together: over a network each stretch of it is a request.
    with h5py.File(Path(path), "w", meta_block_size=2**16) as file:
        for number, movie in enumerate(positions):
            _check(movie)
            if number == 0:
                _define(file, movie, channels, pixel_size)
            root = "/".join(
                [
                    ROOT,
                    inside(movie.plate, "a plate"),
                    "experiment",
                    inside(movie.well, "a well"),
                    "position",
                    movie.site,
                ]
            )
            _write_position(file.create_group(root), movie, packing, chunked=chunked)


def _check(movie: Movie) -> None:
    pixels = movie.pixels
    if pixels.ndim != 5:
        raise WrongShapeError(f"pixels of shape {pixels.shape}", remedy="give (C, T, Z, Y, X)")
    check_dtype(pixels.dtype, "a movie", PIXEL_TYPES)
    for name, region in movie.regions.items():
        if region.stack().shape != pixels.shape[1:]:
            raise WrongShapeError(f"labels {name} of shape {region.labels.shape} on pixels {pixels.shape}")


def _define(file: h5py.File, movie: Movie, channels: Sequence[str], pixel_size: float | None) -> None:
    """What the columns and axes of the rest mean."""
    names = list(channels) + [f"Channel{number}" for number in range(len(channels), movie.pixels.shape[0])]
    size = (pixel_size or 1.0,) * 3
    told = [(name.encode(), b"", pixel_size is not None, size, b"#ffffff") for name in names[: movie.pixels.shape[0]]]
    for group in ("image", "object", "feature"):
        file.create_group(f"definition/{group}")
    file["definition/image/channel"] = np.array(told, _CHANNEL)
    if movie.regions:
        told_regions = [(name.encode(), region.channel) for name, region in movie.regions.items()]
        file["definition/image/region"] = np.array(told_regions, _REGION)
    kinds = [("channel", "image_xy"), ("region", "image_xy"), *((name, "region") for name in movie.regions)]
    for name, kind in kinds if movie.regions else kinds[:1]:
        file[f"definition/object/{name}"] = np.array([(name.encode(), kind.encode(), b"", b"")], _KIND)
    if movie.tracks is not None:
        first = next(iter(movie.regions), "").encode()
        file["definition/object/tracking"] = np.array([(b"tracking", b"relation", first, first)], _KIND)
    for name, region in movie.regions.items():
        _define_features(file.create_group(f"definition/feature/{name}"), region)


def _define_features(group: h5py.Group, region: Segmented) -> None:
    group["center"] = np.array([(name.encode(),) for name in _CENTER.names or ()], _NAME)
    group["bounding_box"] = np.array([(name.encode(),) for name in _BOX.names or ()], _NAME)
    if region.features is not None:
        group["object_features"] = np.array([(name.encode(),) for name in region.feature_names], _NAME)
    if region.classes:
        told = [(number, name.encode(), b"#ffffff") for number, name in enumerate(region.classes)]
        group["object_classification/class_labels"] = np.array(told, _CLASS)


def _write_position(group: h5py.Group, movie: Movie, packing: Mapping[str, Any], *, chunked: bool) -> None:
    _write_image(group, "channel", movie.pixels, packing, chunked=chunked)
    if movie.regions:
        stack = np.stack([region.stack() for region in movie.regions.values()])
        _write_image(group, "region", stack, packing, chunked=chunked)
    for name, region in movie.regions.items():
        _write_objects(group, name, region, packing)
    if movie.tracks is not None:
        _write_table(group, "object/tracking", _records(np.asarray(movie.tracks), _TRACK), packing)
    if movie.timestamps is not None:
        seconds = np.asarray(movie.timestamps, np.float64)
        rows = [(frame, at, at - seconds[0]) for frame, at in enumerate(seconds)]
        _write_table(group, "image/time_lapse", np.array(rows, _TIME), packing)


def _write_image(
    group: h5py.Group, name: str, stack: NDArray[Any], packing: Mapping[str, Any], *, chunked: bool
) -> None:
    """The image, and the table that counts its frames."""
    layout = {"chunks": (1, 1, 1, *stack.shape[-2:]), **packing} if chunked and stack.size else {}
    group.create_dataset(f"image/{name}", data=stack, **layout)
    rows = [(at, at, 0, 0) for at in range(stack.shape[1])]
    _write_table(group, f"object/{name}", np.array(rows, _PLANE), packing)


def _write_objects(group: h5py.Group, name: str, region: Segmented, packing: Mapping[str, Any]) -> None:
    rows = region.rows()
    _write_table(group, f"object/{name}", _records(rows[:, :2], _OBJECT), packing)
    _write_table(group, f"feature/{name}/center", _records(rows[:, 2:4], _CENTER), packing)
    _write_table(group, f"feature/{name}/bounding_box", _records(rows[:, 4:], _BOX), packing)
    path = f"feature/{name}/object_classification"
    choice = None if region.predictions is None else _records(np.asarray(region.predictions)[:, None], _CHOICE)
    tables = {
        f"feature/{name}/object_features": region.features,
        f"{path}/prediction": choice,
        f"{path}/probability": region.probabilities,
    }
    for place, table in tables.items():
        if table is not None and len(table) != len(rows):
            raise WrongShapeError(f"{place} has {len(table)} rows for {len(rows)} objects")
        if table is not None:
            _write_table(group, place, np.asarray(table), packing)


def _write_table(group: h5py.Group, path: str, rows: NDArray[Any], packing: Mapping[str, Any]) -> None:
    layout = {"chunks": rows.shape, **packing} if rows.size else {}
    group.create_dataset(path, data=rows, **layout)


def _records(rows: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """A matrix as a table of named columns."""
    table = np.empty(len(rows), dtype)
    for at, name in enumerate(dtype.names or ()):
        table[name] = rows[:, at]
    return table


def _rows_of(t: int, labels: NDArray[Any]) -> NDArray[np.int64]:
    """One row an object of a label image (Y, X), as `Segmented.rows` has them."""
    numbers, where, counts = np.unique(labels, return_inverse=True, return_counts=True)
    where = where.ravel()
    y, x = (grid.ravel() for grid in np.indices(labels.shape))
    order = np.argsort(where, kind="stable")
    starts = np.cumsum(counts) - counts
    edges = [pick.reduceat(grid[order], starts) for grid in (x, y) for pick in (np.minimum, np.maximum)]
    means = [np.rint(np.bincount(where, grid) / counts) for grid in (x, y)]
    found = np.stack([np.full(len(numbers), t), numbers, *means, *edges], axis=1).astype(np.int64)
    return found[numbers > 0]
