"""One process a folder: a file ``lock`` in it that is locked for as long as the process works there, with its pid."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from phenostream.errors import BusyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_NAME = "lock"
_TOLD = "{folder} is in use by process {pid}"
_REMEDY = "wait for it, or stop it"

# This process's own: a lock of `held` does not keep a second holder in one process out.
_held: set[Path] = set()


@contextmanager
def locked(folder: Path, *, told: str = _TOLD, remedy: str = _REMEDY) -> Iterator[None]:
    """Hold `folder`; no one else can, in this process neither. Raises BusyError with the pid of the one that has it.

    Args:
        folder: it must be there.
        told: the message where another has it, with ``{folder}`` and ``{pid}``.
        remedy: what the user can do then.
    """
    with (folder / _NAME).open("a+", encoding="utf-8") as file:
        _take(file, fcntl.flock, lambda pid: BusyError(told.format(folder=folder, pid=pid), remedy=remedy))
        yield


@contextmanager
def held(folder: Path, *, told: str = _TOLD, remedy: str = _REMEDY) -> Iterator[None]:
    """As :func:`locked`, but the lock is this process's alone: forked workers that outlive it do not keep it.

    (It must not be opened again while it is held: POSIX gives such a lock up when any handle of the file is closed.)
    """
    path = (folder / _NAME).resolve()

    def busy(pid: str) -> BusyError:
        return BusyError(told.format(folder=folder, pid=pid), remedy=remedy)

    if path in _held:
        raise busy(str(os.getpid()))
    with path.open("a+", encoding="utf-8") as file:
        _take(file, fcntl.lockf, busy)
        _held.add(path)
        try:
            yield
        finally:
            _held.discard(path)


def holder(folder: Path) -> int:
    """Pid of the process that has `folder` :func:`locked`, 0 for none."""
    try:
        with (folder / _NAME).open("r", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read().strip() or "0")
    except (FileNotFoundError, ValueError):
        pass
    return 0


def _take(file: IO[str], lock: Callable[[IO[str], int], object], busy: Callable[[str], BusyError]) -> None:
    try:
        lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        file.seek(0)
        raise busy(file.read().strip() or "unknown") from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
