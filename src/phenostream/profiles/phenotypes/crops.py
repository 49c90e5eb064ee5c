"""Crops of labelled cells: pictures in folders or zip files, and a table that says what each shows."""

from __future__ import annotations

import csv
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from phenostream.errors import DamagedError, NotFoundError, RecipeError, TooLargeError, WrongShapeError
from phenostream.formats import png
from phenostream.profiles.schema import CELL_ID
from phenostream.values import FieldId, Plane, cell_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from phenostream.values import Store

_MAX_PICTURE = 16 << 20


class CropTable(BaseModel):
    """Where the crops lie, and what the table beside them calls things."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    table: Path = Field(description="CSV with a header, one row a crop")
    images: tuple[Path, ...] = Field(min_length=1, description="zip files and folders that hold the pictures (PNG)")
    name: str = Field("{file}", description="name of a crop's picture from the columns of its row: `{class}/{file}`")
    label: str = Field("class", description="column of the class that a person gave")
    image: tuple[str, ...] = Field(
        ("plate", "well", "frame"), description="columns that together name the image a cell lies in"
    )
    metadata: dict[str, str] = Field(
        default_factory=lambda: {"plate": "Metadata_Plate", "well": "Metadata_Well", "frame": "Metadata_Frame"},
        description="columns that are kept, and their names in the table of cells",
    )
    exclude: tuple[str, ...] = Field((), description="classes that are left out, counted")
    most: int | None = Field(
        None, ge=1, description="crops of a class that are read, evenly from its rows; all when none"
    )
    rescale: Literal["none", "range"] = Field(
        "none", description="range: each crop alone to the whole range of its type, so that brightness tells nothing"
    )


@dataclass(frozen=True, slots=True, eq=False)
class Crops:
    """Crops and what is known of them.

    Attributes:
        pixels: (N, Y, X) uint8 or uint16.
        table: one row a crop: ``CellId``, the metadata, ``Metadata_Image`` and ``Metadata_Phenotype``.
        excluded: crops that were left out, by class.
    """

    pixels: NDArray[Any]
    table: pa.Table
    excluded: dict[str, int]


def read_crops(settings: CropTable, base: Path | None = None) -> Crops:
    """All crops of a table, in its order.

    Args:
        settings: see :class:`CropTable`.
        base: folder that relative paths start from; the working folder when None.

    Raises:
        NotFoundError: no such file, column or picture.
        WrongShapeError: crops of different shapes or types.
        DamagedError: a picture or the CSV cannot be read; the same picture is named twice.
        RecipeError: every crop is left out.
    """
    rows = _rows((base or Path()) / settings.table, settings)
    kept, excluded = _chosen(rows, settings)
    names = [_name(settings.name, row) for row in kept]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DamagedError(f"the table names the picture {twice!r} twice", remedy="leave one of the rows out")
    store = _Shelves([(base or Path()) / path for path in settings.images])
    pixels = _stacked([png.read(store, Plane(name, "png")) for name in names], names)
    return Crops(_rescaled(pixels) if settings.rescale == "range" else pixels, _told(kept, names, settings), excluded)


def _rows(path: Path, settings: CropTable) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            known = list(reader.fieldnames or ())
            rows = list(reader)
    except FileNotFoundError as error:
        raise NotFoundError(f"no table of crops at {path}", remedy="give the path of a CSV file") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DamagedError(f"{path} is not CSV: {error}") from error
    for name in (settings.label, *settings.image, *settings.metadata):
        if name not in known:
            raise NotFoundError(f"no column {name!r} in {path}", remedy=f"there are {', '.join(known)}")
    return rows


def _chosen(rows: Sequence[dict[str, str]], settings: CropTable) -> tuple[list[dict[str, str]], dict[str, int]]:
    excluded: dict[str, int] = {}
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        label = row[settings.label]
        if label in settings.exclude:
            excluded[label] = excluded.get(label, 0) + 1
        else:
            places.setdefault(label, []).append(place)
    if settings.most is not None:
        places = {label: _spread(found, settings.most) for label, found in places.items()}
    kept = [rows[place] for place in sorted(place for found in places.values() for place in found)]
    if not kept:
        raise RecipeError("no crop is left", remedy="exclude fewer classes")
    return kept, excluded


def _spread(places: list[int], most: int) -> list[int]:
    """At most `most` of `places`, evenly from first to last."""
    chosen = np.linspace(0, len(places) - 1, min(most, len(places))).astype(int)
    return [places[one] for one in chosen]


def _name(pattern: str, row: Mapping[str, str]) -> str:
    try:
        return pattern.format_map(row)
    except (KeyError, ValueError, IndexError) as error:
        raise RecipeError(
            f"cannot make the name of a picture from {pattern!r}: {error}", remedy="use columns"
        ) from error


def _told(rows: Sequence[Mapping[str, str]], names: Sequence[str], settings: CropTable) -> pa.Table:
    image = ["/".join(row[key] for key in settings.image) for row in rows]
    identity = [cell_id(FieldId("crops", "", "", site=name), 1, "crop") for name in names]
    columns: dict[str, Any] = {CELL_ID: identity}
    for column, name in settings.metadata.items():
        columns[name] = [row[column] for row in rows]
    columns |= {"Metadata_Image": image, "Metadata_Phenotype": [row[settings.label] for row in rows]}
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


def _stacked(pictures: Sequence[NDArray[Any]], names: Sequence[str]) -> NDArray[Any]:
    first = pictures[0]
    for picture, name in zip(pictures, names, strict=True):
        if picture.shape != first.shape or picture.dtype != first.dtype:
            raise WrongShapeError(
                f"{name} is {picture.shape} {picture.dtype}, {names[0]} is {first.shape} {first.dtype}",
                remedy="cut all crops to one size",
            )
    return np.stack(pictures)


def _rescaled(pixels: NDArray[Any]) -> NDArray[Any]:
    low = pixels.min(axis=(1, 2), keepdims=True).astype(np.float64)
    span = np.maximum(pixels.max(axis=(1, 2), keepdims=True) - low, 1)
    return np.asarray(np.rint((pixels - low) / span * np.iinfo(pixels.dtype).max), pixels.dtype)


class _Shelves:
    """Zip files and folders as one store: a name is looked for in each in turn."""

    def __init__(self, places: Sequence[Path]) -> None:
        self._folders = [place for place in places if place.is_dir()]
        self._zips: dict[str, tuple[Path, int]] = {}
        for place in places:
            if not place.exists():
                raise NotFoundError(f"no pictures at {place}", remedy="give zip files or folders")
            if place.is_file():
                self._zips |= {name: (place, size) for name, size in _entries(place)}

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        if key in self._zips:
            place, size = self._zips[key]
            if size > _MAX_PICTURE:
                raise TooLargeError(f"{key} claims {size} bytes", remedy="is this a crop?")
            with zipfile.ZipFile(place) as archive:
                return archive.read(key)[start:stop]
        for folder in self._folders:
            path = folder / key
            if path.is_file() and path.resolve().is_relative_to(folder.resolve()):
                return path.read_bytes()[start:stop]
        raise NotFoundError(f"no picture {key}", remedy="check `images` and `name`")

    def size(self, key: str) -> int:
        return self._zips[key][1] if key in self._zips else len(self.read(key))

    def keys(self, prefix: str = "") -> Iterator[str]:
        return iter(sorted(name for name in self._zips if name.startswith(prefix)))


def _entries(path: Path) -> list[tuple[str, int]]:
    try:
        with zipfile.ZipFile(path) as archive:
            return [(entry.filename, entry.file_size) for entry in archive.infolist() if not entry.is_dir()]
    except zipfile.BadZipFile as error:
        raise DamagedError(f"{path} is no zip file: {error}", remedy="fetch it again") from error


if TYPE_CHECKING:
    _store: type[Store] = _Shelves
