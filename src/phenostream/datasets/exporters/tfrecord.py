"""Exporter ``tfrecord``: TensorFlow's records, with the keys and file names of recursionpharma/rxrx1-utils.

A record is its length (u64, little-endian), the masked CRC-32C of that, the data, and the masked CRC-32C of the data;
the data is a ``tf.train.Example``: a map from names to lists of bytes, floats or integers. Sources: "TFRecord and
tf.train.Example" (tensorflow.org), tensorflow/core/example/feature.proto, protobuf encoding (protobuf.dev).
"""

from __future__ import annotations

import gzip
import struct
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, cast

import google_crc32c
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from phenostream.datasets.exporters import Example, Kind, Output
from phenostream.datasets.packs import left_out
from phenostream.datasets.strategies import arrange, place, treated
from phenostream.datasets.tables import STORAGE, fields_of
from phenostream.errors import DamagedError, TooLargeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from phenostream.datasets.packs import Pack

Value = bytes | int | float
Features = dict[str, list[Value]]

_MASK, _WORD = 0xA282EAD8, 1 << 32
_LARGEST = 1 << 30
_AGAIN = "fetch the file, or write the export, again"
_WORDS = ("well", "well_type", "experiment", "cell_type")


class Settings(BaseModel):
    """How records are written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["tfrecord"] = "tfrecord"
    strategy: Literal["random", "by_exp_plate_site", "stable"] = Field(
        "random", description="Which sites lie together."
    )
    seed: int = Field(42, ge=0, lt=2**32, description="Of the order of sites.")
    sites_per_file: int = Field(1500, ge=1, description="random: sites of one file.")
    by: tuple[str, ...] = Field(("plate",), description="stable: columns whose values make a file each.")
    controls: bool = Field(False, description="Write controls too, into folders of their own; the original has none.")
    compression: Literal["gzip", "none"] = Field("gzip", description="Of whole files.")
    columns: Literal["rxrx1", "all"] = Field(
        "rxrx1", description="rxrx1: the original's eight keys; all: every column, and the shape, for other screens."
    )


def plan(pack: Pack, settings: Settings) -> list[Output]:
    """See `phenostream.datasets.exporters`. Raises RecipeError where sites lack what the strategy or keys ask for.

    Sites that the pack does not hold take part in the original's shuffle, as they do there, and nothing is written of
    them. Its keys have no place for a fault: with them, sites that stand in the pack as zeros are not written either.
    """
    fields = fields_of(pack.table)
    absent = [] if settings.strategy == "stable" else left_out(pack)
    told = [*fields, *absent]
    known = {one.id for one in told} if settings.controls else treated(told)
    number = {one.id: index for index, one in enumerate(fields) if one.id in known}
    if settings.columns == "rxrx1":
        faults = pack.table["fault"].to_pylist()
        number = {one: index for one, index in number.items() if faults[index] is None}
        for index in number.values():
            place(fields[index])
    wanted = [one for one in told if one.id in known]
    arranged = arrange(wanted, settings.strategy, settings.seed, by=settings.by, size=settings.sites_per_file)
    outputs = [
        Output(f"{shelf.name}.tfrecord", tuple(number[one.id] for one in shelf.fields if one.id in number))
        for shelf in arranged
    ]
    return [one for one in outputs if one.indices]


def write(path: Path, pack: Pack, output: Output, settings: Settings) -> None:
    """See `phenostream.datasets.exporters`."""
    rows = pack.table.drop_columns(list(STORAGE)).take(list(output.indices))
    told = zip(output.indices, fields_of(rows), rows.to_pylist(), strict=True)
    with path.open("wb") as raw, _compressed(raw, settings.compression) as file:
        for index, field, row in told:
            pixels = np.ascontiguousarray(np.moveaxis(pack[index], 0, -1))
            features: Features = {"image": [pixels.tobytes()]}
            if settings.columns == "rxrx1":
                features |= _original(place(field), row)
            else:
                features |= {"shape": list(pixels.shape), "dtype": [pixels.dtype.name.encode()], **_all(row)}
            file.write(record(example(features)))


def read(path: Path, kind: Kind) -> Iterator[Example]:
    """See `phenostream.datasets.exporters`; plain and gzipped files. The row is what the record says.

    Raises DamagedError where a record fails its checksum, is cut off, or is no site of this kind.
    """
    for data in records(path):
        yield as_example(parse(data), kind, path)


def as_example(features: Features, kind: Kind, path: Path) -> Example:
    """The site that the features of a record of `path` hold. Raises DamagedError where it is none of this kind."""
    c, y, x = kind.shape
    image = features.get("image") or [b""]
    data = image[0] if isinstance(image[0], bytes) else b""
    if len(data) != c * y * x * np.dtype(kind.dtype).itemsize:
        raise DamagedError(f"a record of {path.name} holds no site of shape {kind.shape}", remedy=_AGAIN)
    flat = np.frombuffer(data, np.dtype(kind.dtype).newbyteorder("<"))
    pixels = np.ascontiguousarray(np.moveaxis(flat.reshape(y, x, c), -1, 0))
    return Example(pixels, {name: _plain(values) for name, values in features.items() if name != "image"})


def records(path: Path) -> Iterator[bytes]:
    """The data of every record of a file, plain or gzipped. Raises DamagedError, TooLargeError."""
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        try:
            with gzip.GzipFile(fileobj=raw) if packed else raw as file:
                yield from _records(cast("BinaryIO", file), path.name)
        except (OSError, EOFError, gzip.zlib.error) as error:  # type: ignore[attr-defined]
            raise DamagedError(f"{path.name} does not decompress: {error}", remedy=_AGAIN) from error


def record(data: bytes) -> bytes:
    """`data` in the framing of a record."""
    length = struct.pack("<Q", len(data))
    return b"".join((length, _masked(length), data, _masked(data)))


def example(features: Mapping[str, Sequence[Value]]) -> bytes:
    """The ``tf.train.Example`` of `features`, each a list of bytes, of integers or of floats; keys in order."""
    entries = b"".join(
        _field(1, _field(1, name.encode()) + _field(2, _feature(features[name]))) for name in sorted(features)
    )
    return _field(1, entries)


def parse(data: bytes) -> Features:
    """The features of a ``tf.train.Example``. Raises DamagedError where it is none."""
    found: Features = {}
    try:
        for _, features in _fields(memoryview(data)):
            for _, entry in _fields(features):
                parts = dict(_fields(entry))
                found[bytes(parts[1]).decode()] = _values(parts.get(2, memoryview(b"")))
    except (IndexError, KeyError, ValueError, TypeError, struct.error) as error:
        raise DamagedError(f"a record is no tf.train.Example: {error}", remedy=_AGAIN) from error
    return found


def _original(where: tuple[str, int, str, int], row: Mapping[str, Any]) -> Features:
    """The original's keys; ``sirna`` only where it is known."""
    experiment, plate, well, site = where
    told = {"well": well, "well_type": row.get("well_type") or "treatment", "experiment": experiment,
            "cell_type": row.get("cell_type") or experiment.partition("-")[0]}  # fmt: skip
    features: Features = {name: [str(told[name]).encode()] for name in _WORDS}
    features |= {"plate": [plate], "site": [site]}
    return features | ({"sirna": [int(row["sirna_id"])]} if row.get("sirna_id") is not None else {})


def _all(row: Mapping[str, Any]) -> Features:
    """Every value of a row; what is null is left out."""
    found: Features = {}
    for name, value in row.items():
        many = value if isinstance(value, list) else [value]
        if value is not None:
            found[name] = [one.encode() if isinstance(one, str) else one for one in many]
    return found


def _plain(values: list[Value]) -> Any:
    words = [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in values]
    return words[0] if len(words) == 1 else words


def _compressed(raw: BinaryIO, compression: str) -> Any:
    # No name and no time in the header: the same sites give the same bytes.
    return gzip.GzipFile("", "wb", 6, raw, 0) if compression == "gzip" else raw


def _records(file: BinaryIO, name: str) -> Iterator[bytes]:
    while head := file.read(12):
        if len(head) < 12 or _masked(head[:8]) != head[8:]:
            raise DamagedError(f"the length of a record of {name} fails its checksum", remedy=_AGAIN)
        length = struct.unpack("<Q", head[:8])[0]
        if length > _LARGEST:
            raise TooLargeError(f"a record of {name} claims {length:,} bytes", remedy="do not use this file")
        body = file.read(length + 4)
        if len(body) < length + 4 or _masked(body[:-4]) != body[-4:]:
            raise DamagedError(f"a record of {name} fails its checksum", remedy=_AGAIN)
        yield body[:-4]


def _masked(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return int(((crc >> 15 | crc << 17) + _MASK) % _WORD).to_bytes(4, "little")


def _feature(values: Sequence[Value]) -> bytes:
    if values and isinstance(values[0], bytes):
        return _field(1, b"".join(_field(1, cast("bytes", value)) for value in values))
    if values and isinstance(values[0], float):
        return _field(2, _field(1, struct.pack(f"<{len(values)}f", *values)))
    return _field(3, _field(1, b"".join(_varint(int(value) % (1 << 64)) for value in values)))


def _values(feature: memoryview) -> list[Value]:
    """The list of a feature, which may be packed or not."""
    kind, message = next(iter(_fields(feature)), (3, memoryview(b"")))
    found: list[Value] = []
    for _, content in _fields(message):
        if kind == 1:
            found.append(bytes(content))
        elif kind == 2:
            found.extend(struct.unpack(f"<{len(content) // 4}f", content))
        else:
            found.extend(_integers(content))
    return found


def _integers(content: memoryview) -> Iterator[int]:
    at = 0
    while at < len(content):
        number, at = _number(content, at)
        yield number - (1 << 64) if number >> 63 else number


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and content of each field; plain numbers come as the bytes of a packed list."""
    at = 0
    while at < len(message):
        tag, at = _number(message, at)
        start = at
        if tag & 7 == 0:
            _, at = _number(message, at)
        elif tag & 7 in (1, 5):
            at += 8 if tag & 7 == 1 else 4
        elif tag & 7 == 2:
            length, start = _number(message, at)
            at = start + length
        else:
            raise ValueError(f"wire type {tag & 7}")
        if at > len(message):
            raise ValueError("a field is longer than its message")
        yield tag >> 3, message[start:at]


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def _number(data: memoryview, at: int) -> tuple[int, int]:
    """A varint at `at`, and where it ends."""
    value, shift = 0, 0
    while True:
        byte = data[at]
        value, at, shift = value | (byte & 0x7F) << shift, at + 1, shift + 7
        if byte < 0x80:
            return value % (1 << 64), at
        if shift > 63:
            raise ValueError("a number of more than ten bytes")
