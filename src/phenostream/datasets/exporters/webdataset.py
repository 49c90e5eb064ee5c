"""Exporter ``webdataset``: tar files whose members of one site share a key: ``KEY.npy.zst`` and ``KEY.json``.

Members are stored as they are, so each is a plain range of its file. Source: webdataset's README ("a sample is all
files with the same name up to the first dot"), NumPy's NPY format 1.0, RFC 8878 (Zstandard).
"""

from __future__ import annotations

import io
import json
import math
import re
import tarfile
from typing import TYPE_CHECKING, Any, Literal

import imagecodecs
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from phenostream.datasets.coding import LEVEL
from phenostream.datasets.exporters import Example, Kind, Output
from phenostream.datasets.strategies import stable
from phenostream.datasets.tables import STORAGE, fields_of
from phenostream.errors import DamagedError, RecipeError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from phenostream.datasets.packs import Pack

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_HEADER = 1 << 14


class Settings(BaseModel):
    """How tar files are written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["webdataset"] = "webdataset"
    seed: int = Field(42, ge=0, lt=2**32, description="Of the order of sites: a keyed hash of their identity.")
    by: tuple[str, ...] = Field((), description="Columns whose values make files of their own, named by them.")
    sites_per_file: int = Field(512, ge=1, description="At most.")
    compression: Literal["zstd", "none"] = Field("zstd", description="Of each array: KEY.npy.zst, or KEY.npy.")


def plan(pack: Pack, settings: Settings) -> list[Output]:
    """See `phenostream.datasets.exporters`. Raises RecipeError where two sites would have one key."""
    fields = fields_of(pack.table)
    keys = [_UNSAFE.sub("_", str(name)) for name in pack.table["site_id"].to_pylist()]
    if len({*keys}) < len(keys):
        raise RecipeError("two sites have one name", remedy="give sites names that differ in letters and digits")
    number = {field.id: index for index, field in enumerate(fields)}
    outputs = []
    for shelf in stable(fields, settings.seed, by=settings.by):
        indices = [number[field.id] for field in shelf.fields]
        files = math.ceil(len(indices) / settings.sites_per_file)
        for file in range(files):
            part = tuple(indices[file * settings.sites_per_file : (file + 1) * settings.sites_per_file])
            name = f"{shelf.name}-{file:06d}.tar"
            outputs.append(Output(name, part, tuple(keys[index] for index in part)))
    return outputs


def write(path: Path, pack: Pack, output: Output, settings: Settings) -> None:
    """See `phenostream.datasets.exporters`."""
    rows = pack.table.drop_columns(list(STORAGE)).take(list(output.indices)).to_pylist()
    suffix = ".npy.zst" if settings.compression == "zstd" else ".npy"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for index, key, row in zip(output.indices, output.keys, rows, strict=True):
            _add(tar, key + suffix, _array(pack[index], settings.compression))
            _add(tar, key + ".json", json.dumps(row, sort_keys=True, ensure_ascii=False).encode())


def read(path: Path, kind: Kind) -> Iterator[Example]:
    """See `phenostream.datasets.exporters`. The row is what the site's JSON says. Raises DamagedError."""
    arrays: dict[str, NDArray[Any]] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                key, _, kept = member.name.partition(".")
                file = tar.extractfile(member)
                data = file.read() if file else b""
                if kept == "json":
                    yield Example(arrays.pop(key), json.loads(data))
                else:
                    arrays[key] = _decoded(data, kept, kind)
    except (tarfile.TarError, ValueError, KeyError, OSError, imagecodecs.ZstdError) as error:
        raise DamagedError(f"{path.name} is damaged: {error}", remedy="write the export again") from error


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o644
    tar.addfile(member, io.BytesIO(data))


def _array(pixels: NDArray[Any], compression: str) -> bytes:
    out = io.BytesIO()
    np.save(out, pixels, allow_pickle=False)
    return bytes(imagecodecs.zstd_encode(out.getvalue(), level=LEVEL)) if compression == "zstd" else out.getvalue()


def _decoded(data: bytes, suffix: str, kind: Kind) -> NDArray[Any]:
    most = math.prod(kind.shape) * np.dtype(kind.dtype).itemsize + _HEADER
    plain = bytes(imagecodecs.zstd_decode(data, out=most)) if suffix == "npy.zst" else data
    found: NDArray[Any] = np.load(io.BytesIO(plain), allow_pickle=False)
    if found.shape != kind.shape or found.dtype.name != kind.dtype:
        raise ValueError(f"an array of {found.shape} {found.dtype}")
    return found
