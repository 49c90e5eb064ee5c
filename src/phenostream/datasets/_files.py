"""How a file becomes durable in a pack: temporary name beside it, fsync, rename; and one writer at a time."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from phenostream.errors import BusyError, DiskFullError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PART = ".part"
_TROUBLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG, errno.ENOTDIR, errno.ENAMETOOLONG}


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that is `path`, whole and durable, once the block ends well; nothing is left of it otherwise.

    Raises DiskFullError where the disk is full, failing, read-only or not ours to write.
    """
    temporary = path.with_name(path.name + PART)
    with named_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def write_bytes(path: Path, payload: bytes) -> None:
    """Replace `path` by `payload`, atomically and durably; a file that holds the same already is left alone."""
    if path.is_file() and path.stat().st_size == len(payload) and path.read_bytes() == payload:
        return
    with replacing(path) as file:
        file.write(payload)


def sync_folder(path: Path) -> None:
    """Fsync a folder, so that a rename in it survives power loss."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path) -> None:
    """Delete what writers that died have left half-written below `folder`."""
    for stray in folder.rglob(f"*{PART}"):
        stray.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process. Raises BusyError with the pid of the one that has it."""
    with named_disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a+", encoding="utf-8")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            pid = lock.read().strip() or "unknown"
            raise BusyError(f"{folder} is in use by process {pid}", remedy="wait for it, or stop it") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextmanager
def named_disk(path: Path) -> Iterator[None]:
    """A full, read-only or failing disk under this project's name for it."""
    try:
        yield
    except OSError as error:
        trouble = error.errno in _TROUBLE or type(error) is PermissionError
        if isinstance(error, DiskFullError) or not trouble:
            raise
        raise DiskFullError(
            f"cannot write {path}: {os.strerror(error.errno or 0)}",
            remedy="free disk space or choose another folder, then run again: what is done is kept",
        ) from error
