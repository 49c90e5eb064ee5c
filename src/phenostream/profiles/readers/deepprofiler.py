"""DeepProfiler's feature files: one ``.npz`` an image, ``<plate>/<well>_<site>.npz``."""

from __future__ import annotations

import math
import re
import zipfile
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from phenostream.errors import DamagedError, NotFoundError, TooLargeError
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
    come from the metadata, else from the path.

    Raises:
        NotFoundError: no such file.
        HostileError: a pickle that is more than plain values.
        DamagedError: not the arrays of DeepProfiler, or files with another number of features.
    """
    files = [path] if path.is_file() else sorted(path.rglob("*.npz"))
    if not files:
        raise NotFoundError(f"no .npz below {path}")
    first = _Image.read(files[0], settings)
    # Every file of a project has the same keys; those that only later files have are told by name when they come.
    return _Files(tuple(files), settings, tuple(first.metadata), first.prefix, first.features.shape[1])


@dataclass(frozen=True, slots=True)
class _Image:
    """What one file holds."""

    metadata: dict[str, str]
    prefix: str
    features: NDArray[np.float32]
    locations: NDArray[np.float64]

    @classmethod
    def read(cls, path: Path, settings: Settings) -> _Image:
        try:
            with zipfile.ZipFile(path) as file:
                features = _array(file, "features", path)
                names = file.namelist()
                places = _array(file, "locations", path) if "locations.npy" in names else np.zeros((len(features), 0))
                told = _metadata(file, path) if "metadata.npy" in names else {}
        except (zipfile.BadZipFile, EOFError, OSError) as error:
            raise DamagedError(f"{path} is damaged: {error}", remedy="run DeepProfiler on this image again") from error
        if features.ndim != 2 or places.ndim != 2 or len(places) != len(features):
            raise DamagedError(f"{path} has features {features.shape} and locations {places.shape}")
        metadata = {**_from_path(path, settings), **told}
        return cls(
            metadata, settings.prefix or metadata.get("Metadata_Model", "DP"), features.astype(np.float32), places
        )


@dataclass(frozen=True, slots=True)
class _Files:
    """The images of a project, one after the other."""

    files: tuple[Path, ...]
    settings: Settings
    metadata: tuple[str, ...]
    prefix: str
    width: int

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
        return sum(table.num_rows for table in self.tables([]))

    def tables(self, names: Sequence[str] | None = None) -> Iterator[pa.Table]:
        schema = self.schema()
        for path in self.files:
            table = self._table(_Image.read(path, self.settings), path, schema)
            # A table without columns forgets how many rows it has.
            yield table if names is None or not len(names) else table.select(list(names))

    def _table(self, image: _Image, path: Path, schema: pa.Schema) -> pa.Table:
        if image.features.shape[1] != self.width:
            raise DamagedError(f"{path} has {image.features.shape[1]} features, the first file {self.width}")
        if new := sorted(set(image.metadata) - set(self.metadata)):
            raise DamagedError(f"{path} has metadata {new[0]!r}, the first file has not")
        rows = len(image.features)
        text: list[Any] = [pa.repeat(pa.scalar(image.metadata.get(name), pa.string()), rows) for name in self.metadata]
        there = image.locations.shape[1] >= 2
        places = [pa.array(image.locations[:, axis].astype(float)) if there else pa.nulls(rows, pa.float64())
                  for axis in range(2)]  # fmt: skip
        return pa.table([*text, *places, *(pa.array(column) for column in image.features.T.copy())], schema=schema)


def _array(file: zipfile.ZipFile, name: str, path: Path) -> NDArray[Any]:
    try:
        member = file.getinfo(f"{name}.npy")
    except KeyError as error:
        raise DamagedError(f"{path} has no array {name!r}", remedy="is it DeepProfiler's?") from error
    if member.file_size > MAX_MEMBER:
        raise TooLargeError(f"{path}: {name} claims {member.file_size} bytes", remedy="is it one image's?")
    with file.open(member) as stream:
        shape, dtype = _header(stream, path)
        # NumPy allocates what the header claims; the bytes that follow must be that many.
        if dtype.hasobject or math.prod(shape) * dtype.itemsize > member.file_size:
            raise DamagedError(f"{path}: {name} claims {shape} of {dtype} in {member.file_size} bytes")
    with file.open(member) as stream:
        try:
            array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
        except ValueError as error:
            raise DamagedError(f"{path}: {name}: {error}") from error
    if array.dtype.kind not in "fiu":
        raise DamagedError(f"{path}: {name} holds {array.dtype}, not numbers")
    return array


def _metadata(file: zipfile.ZipFile, path: Path) -> dict[str, str]:
    member = file.getinfo("metadata.npy")
    if member.file_size > MAX_METADATA:
        raise TooLargeError(f"{path}: the metadata claims {member.file_size} bytes")
    with file.open(member) as stream:
        shape, dtype = _header(stream, path)
        told = plain_dict(stream.read(MAX_METADATA)) if dtype.hasobject and shape == () else {}
    named = {key if key.startswith("Metadata_") else f"Metadata_{key}": value for key, value in told.items()}
    return {key: str(value) for key, value in named.items() if value is not None}


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
