"""How a file becomes durable in a pack, its checksum, and one writer at a time."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import google_crc32c

from phenostream import disk
from phenostream.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

_STEP = 1 << 20
# `Path` makes one slash of the two of a URL.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_REMEDY = "free disk space or choose another folder, then run again: what is done is kept"


def local(folder: Path | str) -> Path:
    """`folder`, which is on this machine. Raises RecipeError for a URL: what is written here is written to disks."""
    place = os.fspath(folder)
    if _URL.match(place):
        raise RecipeError(
            f"{place} is a URL, and a local folder is needed here",
            remedy="name a local folder; a whole pack may be copied anywhere and is read from its URL",
        )
    return Path(place)


def checksum(path: Path) -> tuple[int, int]:
    """Bytes and CRC-32C of a file; of a folder, of the names and content of all files in the order of their names."""
    size, crc = 0, 0
    for one in [path] if path.is_file() else sorted(found for found in path.rglob("*") if found.is_file()):
        crc = google_crc32c.extend(crc, one.relative_to(path).as_posix().encode() if one != path else b"")
        with one.open("rb") as file:
            while chunk := file.read(_STEP):
                crc, size = google_crc32c.extend(crc, chunk), size + len(chunk)
    return size, int(crc)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that is `path`, whole and durable, once the block ends well; nothing is left of it otherwise.

    Raises DiskFullError where the disk is full, failing, read-only or not ours to write.
    """
    with named_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with disk.writing(path) as file:
            yield file


def write_bytes(path: Path, payload: bytes) -> None:
    """Replace `path` by `payload`, atomically and durably; a file that holds the same already is left alone."""
    with named_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        disk.ensure_bytes(path, payload)


def sweep(folder: Path) -> None:
    """Delete what writers that died have left half-written below `folder`."""
    for stray in folder.rglob(f"*{disk.PART}"):
        stray.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process. Raises BusyError with the pid of the one that has it."""
    with ExitStack() as stack:
        with named_disk(folder):
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(disk.locked(folder))
        yield


def named_disk(path: Path) -> AbstractContextManager[None]:
    """A full, read-only or failing disk under this project's name for it."""
    return disk.named(f"cannot write {path}", remedy=_REMEDY)
