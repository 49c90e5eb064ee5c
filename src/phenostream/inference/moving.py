"""Packages in and out: from a folder or a zip of anyone into a place of ours, and out as one zip."""

from __future__ import annotations

import io
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from phenostream.errors import DamagedError, HostileError, NotFoundError, TooLargeError
from phenostream.inference.description import describe
from phenostream.inference.folders import free, publish, write_file
from phenostream.inference.limits import DEFAULT, Limits
from phenostream.inference.package import RDF, Package, open_package, read_file
from phenostream.inference.shelves import checked_name, user_folder
from phenostream.inference.yaml_text import read_yaml

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

__all__ = ["export_package", "import_package"]

_ANY_RATIO = 16 * 2**20
_MOST_RATIO = 200
_EPOCH = (1980, 1, 1, 0, 0, 0)


def import_package(
    source: str | os.PathLike[str],
    *,
    name: str | None = None,
    to: str | os.PathLike[str] | None = None,
    replace: bool = False,
    limits: Limits = DEFAULT,
) -> Package:
    """Copy the package in the folder or zip `source` below `to`, the user's folder by default, once it is verified.

    Only files that the description names are copied, and of a zip only those are unpacked.

    Args:
        source: folder with ``rdf.yaml``, or a zip with it at its top or in its one folder.
        name: for `find`; by default the one that the package gives itself, else that of the folder or file.
        to: folder of packages.
        replace: whether a package of that name may go.
        limits: caps.

    Raises ExistsError where the name is taken, RecipeError for a name that cannot be one, else as `open_package`.
    """
    place = Path(source)
    if place.is_dir():
        read: Callable[[str, int], bytes] = lambda path, most: read_file(place, path, most)  # noqa: E731
        return _copied(read, place.name, name, to, replace=replace, limits=limits)
    if not place.is_file():
        raise NotFoundError(f"there is no package at {place}", remedy="give a folder with rdf.yaml, or a zip of one")
    with _opened(place) as archive:
        members = _members(archive, place, limits)
        return _copied(lambda path, most: _unpacked(archive, members, path, most), place.stem, name, to,
                       replace=replace, limits=limits)  # fmt: skip


def export_package(package: Package, path: str | os.PathLike[str]) -> Path:
    """Write a verified package as a zip that bioimage.io tools read; the same package gives the same bytes.

    Raises ChangedError where a file is no longer what it was, DiskFullError.
    """
    target = Path(path)
    again = open_package(package.folder, name=package.name)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(again.files):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.external_attr = 0o644 << 16
            archive.writestr(info, again.read(name), zipfile.ZIP_DEFLATED)
    write_file(target, stream.getvalue())
    return target


def _copied(
    read: Callable[[str, int], bytes],
    fallback: str,
    name: str | None,
    to: str | os.PathLike[str] | None,
    *,
    replace: bool,
    limits: Limits,
) -> Package:
    rdf = read(RDF, limits.description_bytes)
    description = describe(read_yaml(rdf, most=limits.description_bytes))
    known = checked_name(name or description.own.name or fallback)
    target = (Path(to) if to is not None else user_folder()) / known
    free(target, replace=replace)
    if len(description.files) > limits.files:
        raise TooLargeError(f"the description names {len(description.files):,} files, over the cap of {limits.files}")
    onnx = description.weights.onnx.source
    caps = {path: limits.onnx_bytes if path == onnx else limits.file_bytes for path in description.files}
    files = {RDF: rdf, **{path: read(path, most) for path, most in caps.items()}}
    return publish(target, files, name=known, replace=replace)


def _opened(place: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(place)
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise DamagedError(f"{place} is no zip file", remedy="get the package again") from error


def _members(archive: zipfile.ZipFile, place: Path, limits: Limits) -> dict[str, zipfile.ZipInfo]:
    """Files by path, below the one top folder where there is one. Nothing is unpacked before all names are sound."""
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(entries) > 2 * limits.files:
        raise TooLargeError(f"{place.name} holds {len(entries):,} files, over the cap of {2 * limits.files}")
    claimed = sum(entry.file_size for entry in entries)
    if claimed > max(_ANY_RATIO, _MOST_RATIO * place.stat().st_size):
        raise TooLargeError(f"{place.name} claims {claimed:,} bytes out of {place.stat().st_size:,}")
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in entries:
        _check_entry(entry)
        if found.setdefault(entry.filename, entry) is not entry:
            raise HostileError(f"the zip holds {entry.filename!r} twice")
    tops = {path.partition("/")[0] for path in found}
    if RDF not in found and len(tops) == 1:
        return {path.partition("/")[2]: entry for path, entry in found.items()}
    return found


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    parts = name.split("/")
    if PurePosixPath(name).is_absolute() or {"", ".", ".."} & set(parts) or "\\" in name or ":" in name:
        raise HostileError(f"the zip holds {name!r}, a path out of its folder")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise HostileError(f"the zip holds {name!r}, which is no regular file")
    if entry.flag_bits & 1:
        raise DamagedError(f"the zip holds {name!r} encrypted", remedy="unpack it, then import the folder")


def _unpacked(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], path: str, most: int) -> bytes:
    entry = members.get(path)
    if entry is None:
        raise NotFoundError(f"{path} is missing from the zip", remedy="get the package again")
    if entry.file_size > most:
        raise TooLargeError(f"{path} has {entry.file_size:,} bytes, over the cap of {most:,}")
    try:
        with archive.open(entry) as file:
            data = file.read(most + 1)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, RuntimeError) as error:
        raise DamagedError(f"{path} cannot be unpacked: {error}", remedy="get the package again") from error
    if len(data) != entry.file_size:
        raise DamagedError(f"{path} is not as long as the zip says", remedy="get the package again")
    return data
