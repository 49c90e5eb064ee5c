"""How a file becomes durable in an experiment's folder, and who holds the folder."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from phenostream.errors import BusyError, DiskFullError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG, errno.EACCES, errno.EPERM})


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file, then fsync it and rename it to `path`: a file under its name is whole.

    Raises:
        DiskFullError: the disk is full or cannot be written; what stood at `path` still does.
    """
    temporary = path.with_name(f"{path.name}.part")
    try:
        write(temporary)
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise DiskFullError(
                f"cannot write {path}: {os.strerror(error.errno or 0)}",
                remedy="free disk space or choose another folder, then run again: it goes on at the last checkpoint",
            ) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def replace_text(path: Path, text: str) -> None:
    """Replace a text file whole."""
    replace(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


# This process's own: such a lock does not keep a second holder in one process out.
_held: set[Path] = set()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process. Raises BusyError with the pid of the one that has it.

    The lock is the process's own: workers that outlive it for a moment, after a kill, do not keep the next one out.
    """
    path = (folder / "lock").resolve()
    if path in _held:
        raise _busy(str(os.getpid()), folder)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            file.seek(0)
            raise _busy(file.read(), folder) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        _held.add(path)
        try:
            yield
        finally:
            _held.discard(path)


def _busy(pid: str, folder: Path) -> BusyError:
    return BusyError(f"process {pid or '?'} trains in {folder}", remedy="wait, or stop it")
