"""Weights that users bring: found, and known by what they hold."""

from __future__ import annotations

import hashlib
from importlib import metadata
from typing import TYPE_CHECKING

from phenostream.errors import MissingExtraError, NotFoundError

if TYPE_CHECKING:
    from pathlib import Path


def version_of(package: str, extra: str) -> str:
    """The installed version of `package`, without importing it. Raises MissingExtraError."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        raise MissingExtraError.of(package, extra) from None


def stamp_of(path: Path) -> tuple[tuple[str, int, int], ...]:
    """Name, size and time of a file, or of all files below a folder: another where they were written anew.

    Empty where there is nothing.
    """
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return tuple((str(file), told.st_size, told.st_mtime_ns) for file, told in ((one, one.stat()) for one in files))


def hash_of(path: Path) -> str:
    """SHA-256 (hex) of a file, or of all files below a folder with their names. Raises NotFoundError."""
    if not path.exists():
        raise NotFoundError(f"no weights at {path}", remedy="give the path of the model's own file or folder")
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    for file in files:
        name = file.name if file == path else file.relative_to(path).as_posix()
        with file.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").digest()
        digest.update(len(name.encode()).to_bytes(4, "little") + name.encode() + content)
    return digest.hexdigest()
