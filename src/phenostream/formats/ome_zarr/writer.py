"""Writes OME-Zarr plates and images: the same input gives the same bytes, and every chunk can be checked.

Arrays come first and the document that names them last, from the image up to the plate: a plate that was not finished
has no plate document, and no reader takes it for one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numcodecs  # type: ignore[import-untyped]
import numpy as np
import zarr
from zarr.codecs import BloscCodec, BloscShuffle, Crc32cCodec, ZstdCodec

from phenostream.errors import RecipeError, WrongShapeError
from phenostream.formats._places import inside, well_name
from phenostream.formats.limits import LABEL_TYPES, PIXEL_TYPES, check_dtype

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Layout:
    """How arrays are laid out and what is said about them.

    Attributes:
        version: OME-NGFF 0.4 (Zarr v2) or 0.5 (Zarr v3).
        chunks: largest chunk (Y, X) in pixels; a chunk holds one plane or a part of it.
        levels: resolutions, each half of the one before.
        compressor: ``zstd`` (level 3, with its own checksum), ``blosc`` (zstd, bytes shuffled) or ``none``; Zarr v3
            adds CRC-32C to the last two, Zarr v2 cannot.
        shards: chunks a shard along (T, C, Z, Y, X), version 0.5 only; None for a file a chunk.
        channels: names, in the order of the channel axis; numbered where there are fewer than channels.
        pixel_size: micrometres a pixel; None where unknown.
    """

    version: Literal["0.4", "0.5"] = "0.4"
    chunks: tuple[int, int] = (1024, 1024)
    levels: int = 1
    compressor: Literal["zstd", "blosc", "none"] = "zstd"
    shards: tuple[int, int, int, int, int] | None = None
    channels: tuple[str, ...] = ()
    pixel_size: float | None = None

    def __post_init__(self) -> None:
        if self.version not in ("0.4", "0.5") or self.compressor not in ("zstd", "blosc", "none") or self.levels < 1:
            raise RecipeError(f"no such layout: {self}")
        if self.shards and self.version == "0.4":
            raise RecipeError("OME-NGFF 0.4 has no shards", remedy='use version="0.5"')


@dataclass(frozen=True, slots=True, eq=False)
class WellImage:
    """One image of a plate: the well's name (``A4``), pixels, and label images by name (see `write_image`)."""

    well: str
    pixels: NDArray[Any]
    labels: Mapping[str, NDArray[Any]] = field(default_factory=lambda: MappingProxyType({}))


def write_plate(
    folder: Path | str,
    images: Iterable[WellImage],
    *,
    name: str = "plate",
    layout: Layout = Layout(),
) -> None:
    """Write a plate; images are taken one at a time, so they may come from a generator.

    Args:
        folder: where the plate will lie; absent or empty.
        images: in any order of wells; those of one well become its sites 1, 2, 3 ... as they come (folders 0, 1, 2).
        name: of the plate.
        layout: version, chunks, resolutions, codec.

    Raises:
        RecipeError: the folder is not empty, a well name is not a letter and a number.
        WrongShapeError: pixels or labels of a shape that `write_image` refuses.
        WrongDtypeError: pixels that no reader of this package takes.
    """
    root = _empty(folder)
    wells: dict[str, int] = {}
    for image in images:
        path = "/".join(_row_and_column(image.well))
        site = wells.setdefault(path, 0)
        write_image(root / path / str(site), image.pixels, labels=image.labels, name=image.well, layout=layout)
        wells[path] = site + 1
    for path, sites in wells.items():
        listed = [{"acquisition": 0, "path": str(site)} for site in range(sites)]
        _write_group(root / path, {"well": {"images": listed, "version": layout.version}}, layout)
    for row in {path.partition("/")[0] for path in wells}:
        _write_group(root / row, {}, layout)
    _write_group(root, {"plate": _plate(name, wells, layout)}, layout)


def write_image(
    folder: Path | str,
    pixels: NDArray[Any],
    *,
    labels: Mapping[str, NDArray[Any]] = MappingProxyType({}),
    name: str = "image",
    layout: Layout = Layout(),
) -> None:
    """Write one image and its label images.

    Args:
        folder: where the image will lie; absent or empty.
        pixels: (Y, X), (C, Y, X) or (T, C, Z, Y, X).
        labels: label images by name, (Y, X), (T, Y, X) or (T, Z, Y, X), integers, 0 is background.
        name: of the image.
        layout: version, chunks, resolutions, codec.

    Raises:
        RecipeError: the folder is not empty.
        WrongShapeError: another shape, or labels that do not fit the pixels.
        WrongDtypeError: pixels that no reader of this package takes.
    """
    root, stack = _empty(folder), _as_tczyx(pixels)
    check_dtype(stack.dtype, f"image {name}", PIXEL_TYPES)
    told = _write_levels(root, stack, layout, name, mean=True)
    told["omero"] = {"channels": _omero(stack, layout), "version": layout.version}
    for label, values in labels.items():
        _write_label(root / "labels" / inside(label, "a label image"), values, stack.shape, layout)
    if labels:
        _write_group(root / "labels", {"labels": sorted(labels)}, layout)
    _write_group(root, told, layout)


def _write_label(folder: Path, values: NDArray[Any], shape: Sequence[int], layout: Layout) -> None:
    array = np.asarray(values)
    check_dtype(array.dtype, f"label image {folder.name}", LABEL_TYPES)
    wanted = (shape[0], 1, shape[2], *shape[-2:])
    if array.ndim not in (2, 3, 4) or array.shape[-2:] != wanted[-2:] or array.size != np.prod(wanted):
        raise WrongShapeError(f"label image {folder.name} of shape {array.shape} does not fit pixels {tuple(shape)}")
    told = _write_levels(folder, array.reshape(wanted), layout, folder.name, mean=False)
    told["image-label"] = {"source": {"image": "../../"}, "version": layout.version}
    _write_group(folder, told, layout)


def _write_levels(folder: Path, stack: NDArray[Any], layout: Layout, name: str, *, mean: bool) -> dict[str, Any]:
    """Write the arrays ``0``, ``1`` ... and return the multiscales entry that names them."""
    datasets, factor = [], 1
    for level in range(layout.levels):
        _write_array(folder, str(level), stack, layout)
        size = (layout.pixel_size or 1.0) * factor
        step = {"type": "scale", "scale": [1.0, 1.0, 1.0, size, size]}
        datasets.append({"path": str(level), "coordinateTransformations": [step]})
        stack, factor = _halved(stack, mean=mean), factor * 2
    kind = "mean" if mean else "nearest"
    return {
        "multiscales": [
            {"axes": _axes(layout), "datasets": datasets, "name": name, "type": kind, "version": layout.version}
        ]
    }


def _write_array(folder: Path, name: str, stack: NDArray[Any], layout: Layout) -> None:
    chunks = (1, 1, 1, *(min(most, size) for most, size in zip(layout.chunks, stack.shape[-2:], strict=True)))
    shards = tuple(many * size for many, size in zip(layout.shards, chunks, strict=True)) if layout.shards else None
    new = layout.version == "0.5"
    array = zarr.create_array(
        zarr.storage.LocalStore(folder),
        name=name,
        shape=stack.shape,
        dtype=stack.dtype,
        chunks=chunks,
        shards=shards,
        filters=None,
        compressors=_codecs_v3(layout.compressor) if new else _codec_v2(layout.compressor),
        fill_value=0,
        zarr_format=3 if new else 2,
        chunk_key_encoding={"name": "default" if new else "v2", "separator": "/"},
        dimension_names=list("tczyx") if new else None,
        # A chunk of zeros is written too: readers of this package take a chunk that is not there for a loss.
        config={"write_empty_chunks": True},
    )
    array[...] = stack


def _codec_v2(name: str) -> Any:
    known = {
        "zstd": numcodecs.Zstd(level=3, checksum=True),
        "blosc": numcodecs.Blosc(cname="zstd", clevel=3, shuffle=numcodecs.Blosc.SHUFFLE),
    }
    return known.get(name)


def _codecs_v3(name: str) -> list[Any]:
    if name == "zstd":
        return [ZstdCodec(level=3, checksum=True)]
    blosc = BloscCodec(cname="zstd", clevel=3, shuffle=BloscShuffle.shuffle)
    return ([blosc] if name == "blosc" else []) + [Crc32cCodec()]


def _halved(stack: NDArray[Any], *, mean: bool) -> NDArray[Any]:
    """Half the size in Y and X: means of 2 x 2 pixels (a last odd row or column falls out), or every second pixel."""
    if min(stack.shape[-2:]) < 2:
        return stack
    if not mean:
        return stack[..., : stack.shape[-2] // 2 * 2 : 2, : stack.shape[-1] // 2 * 2 : 2]
    y, x = (size // 2 for size in stack.shape[-2:])
    blocks = stack[..., : 2 * y, : 2 * x].reshape(*stack.shape[:-2], y, 2, x, 2)
    means: NDArray[np.float64] = blocks.mean(axis=(-3, -1), dtype=np.float64)
    return (means if stack.dtype.kind == "f" else np.rint(means)).astype(stack.dtype)


def _as_tczyx(pixels: NDArray[Any]) -> NDArray[Any]:
    array = np.asarray(pixels)
    if array.ndim not in (2, 3, 5) or 0 in array.shape:
        raise WrongShapeError(
            f"an image of shape {array.shape} cannot be written", remedy="give (Y, X), (C, Y, X) or (T, C, Z, Y, X)"
        )
    return array if array.ndim == 5 else array.reshape(1, -1, 1, *array.shape[-2:])


def _axes(layout: Layout) -> list[dict[str, str]]:
    unit = {"unit": "micrometer"} if layout.pixel_size else {}
    space = [{"name": "y", "type": "space", **unit}, {"name": "x", "type": "space", **unit}]
    first = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}, {"name": "z", "type": "space"}]
    return first + space


def _omero(stack: NDArray[Any], layout: Layout) -> list[dict[str, Any]]:
    """A label and a display window a channel."""
    integer = stack.dtype.kind in "ui"
    least, most = (np.iinfo(stack.dtype).min, np.iinfo(stack.dtype).max) if integer else (0, 1)
    window = {"min": int(least), "max": int(most), "start": int(least), "end": int(most)}
    numbered = [f"Channel{number}" for number in range(stack.shape[1])]
    names = list(layout.channels[: stack.shape[1]]) + numbered[len(layout.channels) :]
    return [{"active": True, "color": "FFFFFF", "label": name, "window": window} for name in names]


def _plate(name: str, wells: Mapping[str, int], layout: Layout) -> dict[str, Any]:
    """Rows and columns in plate order, wells as they came."""
    pairs = [tuple(path.split("/")) for path in wells]
    rows = sorted({row for row, _ in pairs}, key=lambda row: (len(row), row))
    columns = sorted({column for _, column in pairs}, key=int)
    listed = [
        {"path": f"{row}/{column}", "rowIndex": rows.index(row), "columnIndex": columns.index(column)}
        for row, column in pairs
    ]
    return {
        "acquisitions": [{"id": 0}],
        "columns": [{"name": column} for column in columns],
        "field_count": max(wells.values(), default=0),
        "name": name,
        "rows": [{"name": row} for row in rows],
        "version": layout.version,
        "wells": listed,
    }


def _row_and_column(well: str) -> tuple[str, str]:
    name = well_name(well)
    row = name.rstrip("0123456789")
    column = name[len(row) :]
    if not (row.isalpha() and row.isascii() and column):
        raise RecipeError(f"{well!r} is not the name of a well", remedy="use row letters and a column number: A4")
    return row, column


def _write_group(folder: Path, attrs: Mapping[str, Any], layout: Layout) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if layout.version == "0.4":
        _write_json(folder / ".zgroup", {"zarr_format": 2})
        _write_json(folder / ".zattrs", attrs)
        return
    told = {"ome": {"version": "0.5", **attrs}} if attrs else {}
    _write_json(folder / "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": told})


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _empty(folder: Path | str) -> Path:
    path = Path(folder)
    if path.exists() and any(path.iterdir()):
        raise RecipeError(f"{path} is not empty", remedy="choose a new folder, or delete this one first")
    path.mkdir(parents=True, exist_ok=True)
    return path
