"""How a file gets its name: temporary name beside it, fsync, rename, fsync of the folder.

A file or folder under its own name is whole, after a power cut too. What the disk refuses passes as the system's error;
:func:`phenostream.disk.named` gives it this project's name.
"""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How the names of half-written files end.
PART = ".part"


def beside(path: Path) -> Path:
    """A hidden temporary name in the folder of `path` that no other writer has."""
    return path.with_name(f".{path.name[:64]}.{secrets.token_hex(8)}{PART}")


def sync(path: Path) -> None:
    """Fsync a file, or a folder, so that the names in it survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(path: Path) -> None:
    """Fsync a file, or a folder with everything below it."""
    below = [Path(folder, name) for folder, _, names in os.walk(path, topdown=False) for name in (*sorted(names), ".")]
    for one in below or [path]:
        sync(one)


@contextmanager
def taking_place(temporary: Path, path: Path, *, durable: bool = True) -> Iterator[None]:
    """What the block leaves at `temporary` takes the name `path` when it ends well; else nothing is left of it.

    The block brings its bytes onto the disk itself; the new name is brought there unless `durable` is False.
    """
    try:
        yield
        temporary.replace(path)
    except BaseException:
        _discard(temporary)
        raise
    if durable:
        sync(path.parent)


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A file that is `path`, whole and durable, once the block ends well; what stood there stays otherwise.

    Its temporary name is that of `path` with ``.part`` behind it: what a killed writer leaves, the next one takes.
    """
    temporary = path.with_name(path.name + PART)
    with taking_place(temporary, path), temporary.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def replace_bytes(path: Path, payload: bytes) -> None:
    """Replace `path` by `payload`, atomically and durably."""
    with writing(path) as file:
        file.write(payload)


def ensure_bytes(path: Path, payload: bytes) -> None:
    """As :func:`replace_bytes`, but a file that holds the same already is left as it is."""
    if not (path.is_file() and path.stat().st_size == len(payload) and path.read_bytes() == payload):
        replace_bytes(path, payload)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, for those who write by name; what is there is `path` once the block ends well."""
    temporary = beside(path)
    with taking_place(temporary, path):
        yield temporary
        sync(temporary)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path`; it takes the place of `path` when the block ends well.

    What stood there goes only once the new folder has come: where it cannot come, the old one is put back.
    """
    making = beside(path)
    try:
        making.mkdir()
        yield making
        sync_tree(making)
        _swap(making, path)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _swap(making: Path, path: Path) -> None:
    old = making.with_name(f"{making.name}.old")
    if path.exists():
        path.rename(old)
    try:
        making.rename(path)
    except BaseException:
        if old.exists():
            old.rename(path)
        raise
    sync(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def _discard(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
