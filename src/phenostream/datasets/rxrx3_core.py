"""RxRx3-core as it is distributed: a JPEG 2000 a channel, in the rows of Parquet files.

A row has a key, ``{experiment}/Plate{plate}/{well}_s{site}_{channel}``, and the bytes of an image. Source: the data
card of RxRx3-core, https://huggingface.co/datasets/recursionpharma/rxrx3-core; ISO/IEC 15444-1, A.5.1 (SIZ).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from phenostream.errors import DamagedError, NotFoundError, WrongShapeError
from phenostream.formats.limits import check_claim
from phenostream.sources.catalogs import _rxrx_tables
from phenostream.sources.names import natural
from phenostream.sources.presets import PRESETS
from phenostream.sources.stores import LocalStore
from phenostream.sources.wells import normal, order
from phenostream.values import Channel, Field, FieldId

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_KEY = re.compile(
    r"(?:.*/)?(?P<experiment>[^/]+)/Plate(?P<plate>\d+)/"
    r"(?P<well>[A-Z]{1,2}\d{1,2})_s(?P<site>\d+)_w?(?P<channel>\d+)(?:\.\w+)?"
)
_SIZ = b"\xff\x4f\xff\x51"
_SIX = PRESETS["rxrx1"]


@dataclass(frozen=True, slots=True)
class _Row:
    """Where an image lies: file, row group, row in it, and the column of images."""

    file: str
    group: int
    row: int
    column: str


@dataclass(frozen=True, slots=True)
class Pixels:
    """The pixels of a site, read when called; it can be pickled."""

    rows: tuple[_Row, ...]

    def __call__(self) -> NDArray[Any]:
        """(C, Y, X). Raises DamagedError, TooLargeError, WrongShapeError."""
        planes = [_decoded(_group(one.file, one.group, one.column)[one.row].as_py(), one) for one in self.rows]
        if len({plane.shape for plane in planes}) > 1:
            raise WrongShapeError(f"channels of one site differ in shape: {[plane.shape for plane in planes]}")
        return np.stack(planes)


def fields(files: Iterable[Path | str], metadata: str = "") -> tuple[Field, ...]:
    """The sites of RxRx3-core's Parquet files, in natural order, annotated as by the catalog ``rxrx``.

    The keys of all rows are read now, images when a field is. A row group is kept for the next sites: reading in the
    order given here is much quicker than in any other.

    Args:
        files: Parquet files.
        metadata: the table of wells (``metadata_rxrx3_core.csv``), a path or URL; without it, what the keys tell.

    Raises:
        NotFoundError: no file, no table.
        DamagedError: no column of keys or of images.
    """
    found: dict[_rxrx_tables.Place, dict[str, _Row]] = {}
    for file in map(str, files):
        for place, channel, row in _rows(file):
            found.setdefault(place, {})[channel] = row
    if not found:
        raise NotFoundError("no site of RxRx3-core in these files", remedy="give its Parquet files")
    told = _rxrx_tables.read(metadata, LocalStore(".")) if metadata else None
    return tuple(_field(place, found[place], told.of(place) if told else {}) for place in sorted(found, key=_order))


def _rows(file: str) -> Iterable[tuple[_rxrx_tables.Place, str, _Row]]:
    with _opened(file) as parquet:
        keys, images = _columns(parquet.schema_arrow, file)
        for group in range(parquet.num_row_groups):
            for row, key in enumerate(parquet.read_row_group(group, [keys])[keys].to_pylist()):
                if seen := _KEY.fullmatch(str(key)):
                    place = seen["experiment"], int(seen["plate"]), normal(seen["well"]), str(int(seen["site"]))
                    yield place, str(int(seen["channel"])), _Row(file, group, row, images)


def _columns(schema: pa.Schema, file: str) -> tuple[str, str]:
    """The column of keys and that of images: the first of strings, the first of bytes or of structs with bytes."""
    keys = [one.name for one in schema if pa.types.is_string(one.type) or pa.types.is_large_string(one.type)]
    images = [one.name for one in schema if pa.types.is_binary(one.type) or pa.types.is_struct(one.type)]
    if not keys or not images:
        raise DamagedError(f"{file} has no column of keys and one of images", remedy="give RxRx3-core's Parquet files")
    return keys[0], images[0]


def _opened(file: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file)
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file {file}", remedy="correct its path") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise DamagedError(f"{file} is not Parquet: {error}", remedy="fetch it again") from error


@lru_cache(maxsize=2)
def _group(file: str, group: int, column: str) -> Any:
    with _opened(file) as parquet:
        return parquet.read_row_group(group, [column])[column].combine_chunks()


def _field(place: _rxrx_tables.Place, rows: Mapping[str, _Row], told: Mapping[str, str]) -> Field:
    experiment, plate, well, site = place
    words = [word for word in _SIX.channels if word in rows]
    names = [_SIX.channels[word] for word in words]
    return Field(
        FieldId(plate=f"{experiment}_{plate}", well=well, site=site),
        tuple(Channel(name, _SIX.stains[name]) for name in names),
        annotation={"experiment": experiment, "plate_number": str(plate), **told},
        pixels=Pixels(tuple(rows[word] for word in words)),
    )


def _decoded(image: Any, row: _Row) -> NDArray[Any]:
    data = image["bytes"] if isinstance(image, dict) else image
    what = f"row {row.row} of group {row.group} of {row.file}"
    at = (data or b"").find(_SIZ)
    if at < 0 or len(data) < at + 24:
        raise DamagedError(f"{what} is no JPEG 2000 image", remedy="fetch the file again")
    width, height = (int.from_bytes(data[at + k : at + k + 4]) for k in (8, 12))
    check_claim((height, width), "u2", what, stored=len(data))
    try:
        plane: NDArray[Any] = imagecodecs.jpeg2k_decode(data)
    except imagecodecs.Jpeg2kError as error:
        raise DamagedError(f"{what} does not decode: {error}", remedy="fetch the file again") from error
    if plane.ndim != 2:
        raise WrongShapeError(f"{what} has shape {plane.shape}", remedy="a channel is a grey image")
    return plane


def _order(place: _rxrx_tables.Place) -> tuple[Any, ...]:
    return natural(place[0]), place[1], order(place[2]), natural(place[3])
