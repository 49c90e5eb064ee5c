"""A fitted model as bytes: a NumPy .npz without pickles, the same bytes each time, and bounded when read."""

from __future__ import annotations

import hashlib
import io
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from phenostream.errors import DamagedError, HostileError, TooLargeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[Any]]

MAX_BYTES = 256 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)
_DIGEST = "digest"
_HEADER_ROOM = 4096


def digest(arrays: Arrays) -> str:
    """SHA-256 over names, types, shapes and little-endian bytes of arrays, in the order of their names."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        values = np.ascontiguousarray(arrays[name])
        values = values.astype(values.dtype.newbyteorder("<"), copy=False)
        total.update(f"{name} {values.dtype.str} {values.shape}\n".encode())
        total.update(values.tobytes())
    return total.hexdigest()


def pack(arrays: Arrays) -> bytes:
    """Arrays and their digest as an uncompressed .npz; equal arrays give equal bytes."""
    told = np.frombuffer(bytes.fromhex(digest(arrays)), np.uint8)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, values in (*sorted(arrays.items()), (_DIGEST, told)):
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=_EPOCH)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, _npy(values))
    return buffer.getvalue()


def unpack(payload: bytes, names: frozenset[str]) -> dict[str, NDArray[Any]]:
    """The arrays of `pack`, checked against their digest.

    Raises:
        TooLargeError: more than 256 MB, or an entry that claims more.
        HostileError: an entry with Python objects.
        DamagedError: not such a file, names missing or added, or another digest.
    """
    if len(payload) > MAX_BYTES:
        raise TooLargeError(f"an illumination model of {len(payload):,} bytes", remedy=f"the cap is {MAX_BYTES:,}")
    try:
        with zipfile.ZipFile(io.BytesIO(payload)) as archive:
            arrays = _entries(archive, names | {_DIGEST})
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, KeyError, OSError) as error:
        raise DamagedError(f"not an illumination model: {error}", remedy="fit it again") from error
    told = arrays.pop(_DIGEST)
    if told.dtype != np.uint8 or told.tobytes().hex() != digest(arrays):
        raise DamagedError("an illumination model whose content does not match its hash", remedy="fit it again")
    return arrays


def _entries(archive: zipfile.ZipFile, names: frozenset[str]) -> dict[str, NDArray[Any]]:
    entries = archive.infolist()
    if len(entries) > 64 or sorted(entry.filename for entry in entries) != sorted(f"{name}.npy" for name in names):
        raise DamagedError(f"an illumination model holds exactly {', '.join(sorted(names))}", remedy="fit it again")
    claimed = sum(entry.file_size for entry in entries)
    if claimed > MAX_BYTES:
        raise TooLargeError(f"an illumination model that claims {claimed:,} bytes", remedy=f"the cap is {MAX_BYTES:,}")
    return {entry.filename.removesuffix(".npy"): _array(archive.read(entry)) for entry in entries}


def _npy(values: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    np.lib.format.write_array(buffer, np.ascontiguousarray(little), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def _array(raw: bytes) -> NDArray[Any]:
    buffer = io.BytesIO(raw)
    try:
        version = np.lib.format.read_magic(buffer)
        if version != (1, 0):
            raise DamagedError(f"an array header of version {version}", remedy="fit it again")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(buffer, max_header_size=_HEADER_ROOM)
    except (ValueError, EOFError) as error:
        raise DamagedError(f"an array header that cannot be read: {error}", remedy="fit it again") from error
    if dtype.hasobject:
        raise HostileError("an illumination model with Python objects in it", remedy="do not use this file")
    data = raw[buffer.tell() :]
    if fortran or dtype.kind not in "fiu" or len(data) != dtype.itemsize * int(np.prod(shape, dtype=object)):
        raise DamagedError("an array whose bytes do not fit its shape", remedy="fit it again")
    return np.frombuffer(data, dtype).reshape(shape)
