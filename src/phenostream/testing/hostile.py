"""Hostile files: what no reader may open, follow, or allocate for. Each is made when it is needed."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import google_crc32c
import h5py
import numpy as np
import tifffile

from phenostream.errors import (
    DamagedError,
    HostileError,
    NotFoundError,
    PhenostreamError,
    TooLargeError,
    WrongDtypeError,
)
from phenostream.formats import ome_zarr
from phenostream.values import Plane

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["HOSTILE", "Hostile"]


@dataclass(frozen=True)
class Hostile:
    """A file that must be refused: how it is made in a folder, the plane to read of it, and the error that is due."""

    make: Callable[[Path], Plane]
    error: type[PhenostreamError]


_MOVIE = "sample/0/plate/P/experiment/00001/position/1/image/channel"


def _hdf5(fill: Callable[[Any, Path], None]) -> Callable[[Path], Plane]:
    """A CellH5 file whose image `fill` makes, beside a secret that it may try to reach."""

    def make(folder: Path) -> Plane:
        (folder / "secret").write_bytes(b"root:x:0:0" * 100)
        with h5py.File(folder / "a.ch5", "w") as file:
            fill(file, folder)
        return Plane("a.ch5", "cellh5", _MOVIE.removesuffix("/image/channel"))

    return make


def _external_storage(file: Any, folder: Path) -> None:
    file.create_dataset(_MOVIE, (1, 1, 1, 20, 20), "u1", external=[(str(folder / "secret"), 0, 400)])


def _external_link(file: Any, folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as other:
        other["image"] = np.zeros((1, 1, 1, 20, 20), "u1")
    file.create_group(_MOVIE.rpartition("/")[0])
    file[_MOVIE] = h5py.ExternalLink(str(folder / "other.h5"), "/image")


def _external_plate(file: Any, folder: Path) -> None:
    file.create_group("sample/0")
    file["sample/0/plate"] = h5py.ExternalLink(str(folder / "secret"), "/")


def _soft_link(file: Any, _: Path) -> None:
    file["elsewhere"] = np.zeros((1, 1, 1, 20, 20), "u1")
    file.create_group(_MOVIE.rpartition("/")[0])
    file[_MOVIE] = h5py.SoftLink("/elsewhere")


def _virtual(file: Any, folder: Path) -> None:
    layout = h5py.VirtualLayout((1, 1, 1, 20, 20), "u1")
    layout[...] = h5py.VirtualSource(str(folder / "other.h5"), "image", (1, 1, 1, 20, 20))
    file.create_virtual_dataset(_MOVIE, layout)


def _plugin(file: Any, _: Path) -> None:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((1, 1, 1, 20, 20))
    plist.set_filter(32099, h5py.h5z.FLAG_OPTIONAL, (1, 2))
    space = h5py.h5s.create_simple((1, 1, 1, 20, 20))
    group = file.create_group(_MOVIE.rpartition("/")[0])
    h5py.h5d.create(group.id, b"channel", h5py.h5t.NATIVE_UINT8, space, plist)


def _giant(file: Any, _: Path) -> None:
    file.create_dataset(_MOVIE, (1, 1, 1, 2**20, 2**20), "u2", chunks=(1, 1, 1, 64, 64))


def _giant_chunk(file: Any, _: Path) -> None:
    file.create_dataset(_MOVIE, (2**11, 2**11, 1, 20, 20), "u1", chunks=(2**11, 2**10, 1, 20, 20))


def _many_chunks(file: Any, _: Path) -> None:
    file.create_dataset(_MOVIE, (1, 1, 1, 4000, 4000), "u1", chunks=(1, 1, 1, 1, 1))


def _bomb(file: Any, _: Path) -> None:
    image = file.create_dataset(_MOVIE, (1, 1, 1, 20, 20), "u1", chunks=(1, 1, 1, 20, 20), compression="gzip")
    image.id.write_direct_chunk((0, 0, 0, 0, 0), zlib.compress(bytes(2**24)))


def _objects(file: Any, _: Path) -> None:
    file.create_dataset(_MOVIE, data=np.full((1, 1, 1, 2, 2), "x", object), dtype=h5py.string_dtype())


def _tiff_lie(folder: Path) -> Plane:
    tifffile.imwrite(folder / "a.tif", np.zeros((16, 16), np.uint16))
    blob = bytearray((folder / "a.tif").read_bytes())
    with tifffile.TiffFile(folder / "a.tif") as file:
        for name in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            at = file.pages.first.tags[name].valueoffset
            blob[at - 6 : at + 4] = struct.pack("<HII", 4, 1, 200_000)
    (folder / "a.tif").write_bytes(blob)
    return Plane("a.tif", "tiff")


def _tiff_bomb(folder: Path) -> Plane:
    tifffile.imwrite(folder / "a.tif", np.zeros((16, 16), np.uint16), compression="zlib")
    bomb = zlib.compress(bytes(2**24))
    blob = bytearray((folder / "a.tif").read_bytes())
    with tifffile.TiffFile(folder / "a.tif") as file:
        tags = file.pages.first.tags
        for name, value in (("StripOffsets", len(blob)), ("StripByteCounts", len(bomb))):
            at = tags[name].valueoffset
            blob[at - 6 : at + 4] = struct.pack("<HII", 4, 1, value)
    (folder / "a.tif").write_bytes(bytes(blob) + bomb)
    return Plane("a.tif", "tiff")


def _tiff_entities(folder: Path) -> Plane:
    text = '<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;&b;">]><OME xmlns="x"><Image ID="&c;"/></OME>'
    tifffile.imwrite(folder / "a.tif", np.zeros((16, 16), np.uint8), description=text, metadata=None)
    return Plane("a.tif", "tiff")


def _png_giant(folder: Path) -> Plane:
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(30_001 * 1000))
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, body in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b"")):
        parts.append(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)))
    (folder / "a.png").write_bytes(b"".join(parts))
    return Plane("a.png", "png")


def _zarr(
    change: Mapping[str, Any] | None = None, *, image: Mapping[str, Any] | None = None, chunk: bytes | None = None
) -> Callable[[Path], Plane]:
    """A small Zarr v2 image, with changes to its array, to its image document, and its chunk."""

    def make(folder: Path) -> Plane:
        ome_zarr.write_image(folder / "i.zarr", np.zeros((1, 1, 1, 16, 16), np.uint16))
        root = folder / "i.zarr"
        for name, changes in (("0/.zarray", change), (".zattrs", image)):
            told = json.loads((root / name).read_text())
            (root / name).write_text(json.dumps({**told, **(changes or {})}))
        if chunk is not None:
            (root / "0/0/0/0/0/0").write_bytes(chunk)
        return Plane("i.zarr", "ome_zarr", "0" if image is None else "")

    return make


def _zarr_gone(folder: Path) -> Plane:
    plane = _zarr()(folder)
    (folder / "i.zarr/0/0/0/0/0/0").unlink()
    return plane


def _zarr_well(folder: Path) -> Plane:
    told = {"plate": {"version": "0.4", "wells": [{"path": "../../etc", "rowIndex": 0, "columnIndex": 0}]}}
    (folder / ".zattrs").write_text(json.dumps(told))
    return Plane("", "ome_zarr", "A/1/0/0")


def _zarr_shard(folder: Path) -> Plane:
    layout = ome_zarr.Layout(version="0.5", shards=(1, 1, 1, 1, 1))
    ome_zarr.write_image(folder / "i.zarr", np.zeros((16, 16), np.uint16), layout=layout)
    (path,) = (folder / "i.zarr/0/c").rglob("0/0/0/0/0")
    index = struct.pack("<QQ", 0, 2**40)
    path.write_bytes(path.read_bytes()[:-20] + index + struct.pack("<I", google_crc32c.value(index)))
    return Plane("i.zarr", "ome_zarr", "0")


def _zarr_deep(folder: Path) -> Plane:
    (folder / ".zattrs").write_text("[" * 200_000)
    return Plane("", "ome_zarr", "0")


_SCALE = [{"type": "scale", "scale": [1.0, 1.0]}]
_YX = [{"name": "y"}, {"name": "x"}]
_BLOSC = {"id": "blosc", "cname": "zstd", "clevel": 5, "shuffle": 1, "blocksize": 0}

#: Files that every reader refuses by a named error, before it allocates what they claim.
HOSTILE: dict[str, Hostile] = {
    "hdf5-external-storage": Hostile(_hdf5(_external_storage), HostileError),
    "hdf5-external-link": Hostile(_hdf5(_external_link), HostileError),
    "hdf5-external-plate": Hostile(_hdf5(_external_plate), HostileError),
    "hdf5-soft-link": Hostile(_hdf5(_soft_link), HostileError),
    "hdf5-virtual": Hostile(_hdf5(_virtual), HostileError),
    "hdf5-plugin-filter": Hostile(_hdf5(_plugin), HostileError),
    "hdf5-giant": Hostile(_hdf5(_giant), TooLargeError),
    "hdf5-giant-chunk": Hostile(_hdf5(_giant_chunk), TooLargeError),
    "hdf5-many-chunks": Hostile(_hdf5(_many_chunks), TooLargeError),
    "hdf5-gzip-bomb": Hostile(_hdf5(_bomb), DamagedError),
    "hdf5-objects": Hostile(_hdf5(_objects), DamagedError),
    "tiff-size-lie": Hostile(_tiff_lie, TooLargeError),
    "tiff-deflate-bomb": Hostile(_tiff_bomb, DamagedError),
    "tiff-entities": Hostile(_tiff_entities, HostileError),
    "png-900-megapixels": Hostile(_png_giant, TooLargeError),
    "zarr-giant": Hostile(_zarr({"shape": [1, 1, 1, 2**20, 2**20]}), TooLargeError),
    "zarr-giant-chunk": Hostile(_zarr({"chunks": [2**20, 2**10, 1, 64, 64]}), TooLargeError),
    "zarr-missing-chunk": Hostile(_zarr_gone, NotFoundError),
    "zarr-pickle-filter": Hostile(_zarr({"filters": [{"id": "pickle"}]}), HostileError),
    "zarr-pickle-compressor": Hostile(_zarr({"compressor": {"id": "pickle"}}), HostileError),
    "zarr-objects": Hostile(_zarr({"dtype": "|O"}), WrongDtypeError),
    "zarr-bad-separator": Hostile(_zarr({"dimension_separator": "/../"}), HostileError),
    "zarr-path-out": Hostile(
        _zarr(
            image={
                "multiscales": [
                    {"axes": _YX, "datasets": [{"path": "../../secret", "coordinateTransformations": _SCALE}]}
                ]
            }
        ),
        HostileError,
    ),
    "zarr-absolute-path": Hostile(
        _zarr(
            image={"multiscales": [{"axes": _YX, "datasets": [{"path": "/etc", "coordinateTransformations": _SCALE}]}]}
        ),
        HostileError,
    ),
    "zarr-well-out": Hostile(_zarr_well, HostileError),
    "zarr-blosc-bomb": Hostile(
        _zarr({"compressor": _BLOSC}, chunk=b"\x02\x01\x21\x02" + struct.pack("<III", 2**31 - 1, 2**20, 16)),
        TooLargeError,
    ),
    "zarr-zstd-bomb": Hostile(
        _zarr(chunk=b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 2**40) + bytes(9)), TooLargeError
    ),
    "zarr-gzip-bomb": Hostile(
        _zarr({"compressor": {"id": "zlib", "level": 1}}, chunk=zlib.compress(bytes(2**22), 9)), DamagedError
    ),
    "zarr-shard-index-out": Hostile(_zarr_shard, DamagedError),
    "zarr-deep-json": Hostile(_zarr_deep, DamagedError),
}
