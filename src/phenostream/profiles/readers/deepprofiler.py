"""DeepProfiler's feature files: one ``.npz`` an image, ``<plate>/<well>_<site>.npz``."""

from __future__ import annotations

import math
import re
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from phenostream.errors import DamagedError, NotFoundError, PhenostreamError, TooLargeError
from phenostream.profiles.operating import OperationSettings
from phenostream.profiles.readers._plain_pickle import plain_dict
from phenostream.values import Column, with_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from phenostream.profiles.tables import Source

MAX_MEMBER = 2 << 30
MAX_METADATA = 1 << 20
MAX_KEYS = 10_000


class Settings(OperationSettings):
    """What the files do not say."""

    prefix: str = Field("", description="first word of the feature names; empty: Metadata_Model, else DP")
    separator: str = Field("_", min_length=1, max_length=3, description="between well and site in file names; or /")


def recognises(path: Path) -> bool:
    """Whether it is such a file, or a folder with some below it."""
    return path.suffix == ".npz" if path.is_file() else next(path.rglob("*.npz"), None) is not None


def read(path: Path, settings: Settings) -> Source:
    """One row a cell: metadata, locations (pixels) and features (float32).

    Nothing is unpickled. Features and locations are plain arrays. The metadata lies in the file as a pickled
    dictionary: its text and numbers are read from the pickle's opcodes, without importing or calling anything
    (:mod:`phenostream.profiles.readers._plain_pickle`); a pickle that asks for more is refused. Plate, well and site
    come from the metadata, else from the path. The headers and metadata of all files are read first: a key that some
    lack is null in their rows, and so is one without a value (None, NaN). Images without cells give no row and are
    counted (``told``).

    Raises:
        NotFoundError: no such file.
        HostileError: a pickle that is more than plain values.
        DamagedError: not the arrays of DeepProfiler, or files with another number of features.
        TooLargeError: an array of over 2 GiB, or metadata of over 1 MiB or 10,000 keys.
    """
    files = [path] if path.is_file() else sorted(path.rglob("*.npz"))
    if not files:
        raise NotFoundError(f"no .npz below {path}")
    keys: dict[str, None] = {}
    prefix, width, rows = settings.prefix, 0, 0
    for place in files:
        head = _Head.read(place, settings)
        keys.update(dict.fromkeys(head.metadata))
        if len(keys) > MAX_KEYS:
            raise TooLargeError(
                f"{place} has a metadata key too many: over {MAX_KEYS} in {path}", remedy="see its keys"
            )
        prefix = prefix or head.metadata.get("Metadata_Model") or ""
        width = width or (head.width if head.rows else 0)
        rows += head.rows
    return _Files(tuple(files), settings, tuple(keys), prefix or "DP", width, rows)


@dataclass(frozen=True, slots=True)
class _Head:
    """What one file says before its numbers are read; metadata without a value is None."""

    metadata: dict[str, str | None]
    rows: int
    width: int

    @classmethod
    def read(cls, path: Path, settings: Settings) -> _Head:
        with _opened(path) as file:
            told = _metadata(file, path) if "metadata.npy" in file.namelist() else {}
            shape = _claimed(file, "features", path)
        metadata: dict[str, str | None] = dict(_from_path(path, settings))
        for key, value in told.items():
            # What a file does not know of itself its path may.
            metadata[key] = metadata.get(key) if value is None else value
        return cls(metadata, shape[0] if shape else 0, shape[1] if len(shape) == 2 else 0)


@dataclass(frozen=True, slots=True)
class _Cells:
    """The numbers of one file: features (cells, width) and locations (cells, 2 or none)."""

    features: NDArray[np.float32]
    locations: NDArray[np.float64]

    @classmethod
    def read(cls, path: Path) -> _Cells:
        with _opened(path) as file:
            features = _array(file, "features", path)
            there = "locations.npy" in file.namelist()
            places = _array(file, "locations", path) if there else np.zeros((len(features), 0))
        # An image without cells is an empty list to DeepProfiler, and has but one axis.
        features, places = (one.reshape(0, 0) if one.shape == (0,) else one for one in (features, places))
        if features.ndim != 2 or places.ndim != 2 or len(places) != len(features):
            raise DamagedError(f"{path} has features {features.shape} and locations {places.shape}")
        return cls(features.astype(np.float32), places)


@dataclass(slots=True)
class _Files:
    """The images of a project, one after the other.

    Attributes:
        files: one an image.
        settings: as given.
        metadata: every key that any of them has.
        prefix: first word of the features' names.
        width: number of features, of the first image with cells.
        rows: cells, as the headers say.
        told: after a whole reading: ``images``, and how many of them are ``without_cells``.
    """

    files: tuple[Path, ...]
    settings: Settings
    metadata: tuple[str, ...]
    prefix: str
    width: int
    rows: int
    told: dict[str, int] = field(default_factory=dict)

    def schema(self) -> pa.Schema:
        fields: list[pa.Field[Any]] = [pa.field(name, pa.string()) for name in self.metadata]
        fields += [pa.field(f"Location_Center_{axis}", pa.float64()) for axis in "XY"]
        names = [f"{self.prefix}_{number}" for number in range(self.width)]
        empty = pa.schema([*fields, *(pa.field(name, pa.float32()) for name in names)]).empty_table()
        place = Column("", "metadata", family="Location", unit="px", positional=True)
        return with_columns(empty, [
            *(Column(name, "metadata") for name in self.metadata),
            *(replace(place, name=f"Location_Center_{axis}") for axis in "XY"),
            *(Column(name, "feature", family=self.prefix, unit="1") for name in names),
        ]).schema  # fmt: skip

    def count(self) -> int:
        return self.rows

    def tables(self, names: Sequence[str] | None = None) -> Iterator[pa.Table]:
        schema = self.schema()
        self.told.clear()
        self.told.update({"images": 0, "without_cells": 0})
        for path in self.files:
            table = self._table(path, schema)
            self.told["images"] += 1
            self.told["without_cells"] += not table.num_rows
            # A table without columns forgets how many rows it has.
            yield table if names is None or not len(names) else table.select(list(names))

    def _table(self, path: Path, schema: pa.Schema) -> pa.Table:
        cells, metadata = _Cells.read(path), _Head.read(path, self.settings).metadata
        rows, width = cells.features.shape
        if not rows:
            return schema.empty_table()
        if width != self.width:
            raise DamagedError(f"{path} has {width} features, the first file with cells {self.width}")
        text: list[Any] = [pa.repeat(pa.scalar(metadata.get(name), pa.string()), rows) for name in self.metadata]
        there = cells.locations.shape[1] >= 2
        places = [pa.array(cells.locations[:, axis].astype(float)) if there else pa.nulls(rows, pa.float64())
                  for axis in range(2)]  # fmt: skip
        return pa.table([*text, *places, *(pa.array(column) for column in cells.features.T.copy())], schema=schema)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as file:
            yield file
    except PhenostreamError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
        raise DamagedError(f"{path} is damaged: {error}", remedy="run DeepProfiler on this image again") from error


def _claimed(file: zipfile.ZipFile, name: str, path: Path) -> tuple[int, ...]:
    """The shape that an array's header claims, refused where its member has not that many bytes."""
    try:
        member = file.getinfo(f"{name}.npy")
    except KeyError as error:
        raise DamagedError(f"{path} has no array {name!r}", remedy="is it DeepProfiler's?") from error
    if member.file_size > MAX_MEMBER:
        raise TooLargeError(f"{path}: {name} claims {member.file_size} bytes", remedy="is it one image's?")
    with file.open(member) as stream:
        shape, dtype = _header(stream, path)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize > member.file_size:
        raise DamagedError(f"{path}: {name} claims {shape} of {dtype} in {member.file_size} bytes")
    return shape


def _array(file: zipfile.ZipFile, name: str, path: Path) -> NDArray[Any]:
    # NumPy allocates what the header claims.
    _claimed(file, name, path)
    with file.open(f"{name}.npy") as stream:
        try:
            array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
        except ValueError as error:
            raise DamagedError(f"{path}: {name}: {error}") from error
    if array.dtype.kind not in "fiu":
        raise DamagedError(f"{path}: {name} holds {array.dtype}, not numbers")
    return array


def _metadata(file: zipfile.ZipFile, path: Path) -> dict[str, str | None]:
    member = file.getinfo("metadata.npy")
    if member.file_size > MAX_METADATA:
        raise TooLargeError(f"{path}: the metadata claims {member.file_size} bytes")
    with file.open(member) as stream:
        shape, dtype = _header(stream, path)
        told = plain_dict(stream.read(MAX_METADATA)) if dtype.hasobject and shape == () else {}
    named = {key if key.startswith("Metadata_") else f"Metadata_{key}": value for key, value in told.items()}
    # Of all values only NaN differs from itself; pandas leaves it where a table of metadata has a gap.
    return {key: None if value is None or value != value else str(value) for key, value in named.items()}  # noqa: PLR0124


def _header(stream: IO[bytes], path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type as an array's header claims them."""
    try:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(stream)
    except ValueError as error:
        raise DamagedError(f"{path}: {error}") from error
    return shape, dtype


def _from_path(path: Path, settings: Settings) -> dict[str, str]:
    """Plate, well and site as the path says them; what it does not say is left out."""
    if settings.separator == "/":
        words = [path.parent.parent.name, path.parent.name, path.stem]
    else:
        well, found, site = path.stem.rpartition(settings.separator)
        words = [path.parent.name, well, site] if found else []
    keys = ("Metadata_Plate", "Metadata_Well", "Metadata_Site")
    return {key: re.sub(r"\s+", " ", word) for key, word in zip(keys, words, strict=False) if word}
