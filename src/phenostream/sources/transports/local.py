"""Files below a folder; nothing outside it, whatever links say."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from phenostream.errors import BrokenTransferError, ForbiddenError, HostileError, NotFoundError, PhenostreamError
from phenostream.sources.transport import Arrival

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phenostream.sources.options import TransportOptions

_CHUNK = 1 << 20
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}
_REFUSED = {errno.EACCES, errno.EPERM}


def folder_of(base: str) -> Path:
    """The folder that `base` (a path or a ``file://`` URL) means."""
    return Path(unquote(urlsplit(base).path) if base.startswith("file:") else base)


class Transport:
    """Reads regular files below a folder."""

    def __init__(self, base: str, options: TransportOptions) -> None:
        """Serve the folder `base`, a path or a ``file://`` URL; it need not exist yet."""
        del options  # nothing here waits, retries or signs
        self._root = Path(os.path.realpath(folder_of(base)))

    @contextmanager
    def fetch(self, key: str, *, start: int = 0, stop: int | None = None, version: str = "") -> Iterator[Arrival]:
        """See `phenostream.sources.transport.Transport`."""
        del version  # compared by the store, before a byte is read
        path = self._root / key
        with _told(path):
            handle = os.open(self._inside(key), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise NotFoundError(f"{path} is not a regular file")
            end = found.st_size if stop is None else min(stop, found.st_size)
            yield Arrival(found.st_size, _version(found), start, _chunks(handle, start, end, path))
        finally:
            os.close(handle)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """See `phenostream.sources.transport.Lister`. Links to files inside the folder count, linked folders do not."""
        top = self._inside(prefix) if prefix else self._root
        if not top.is_dir():
            raise NotFoundError(f"there is no folder {top}", remedy="check the path")
        for folder, _, names in os.walk(top, onerror=_raise):
            for name in names:
                yield f"{prefix}{(Path(folder) / name).relative_to(top).as_posix()}"

    def _inside(self, key: str) -> Path:
        real = Path(os.path.realpath(self._root / key))
        if not real.is_relative_to(self._root):
            raise HostileError(f"{self._root / key} leads out of its folder", remedy="put the file itself there")
        return real


def _version(found: os.stat_result) -> str:
    return f"{found.st_mtime_ns:x}-{found.st_size:x}-{found.st_ino:x}"


def _chunks(handle: int, start: int, end: int, path: Path) -> Iterator[bytes]:
    while start < end:
        with _told(path):
            chunk = os.pread(handle, min(_CHUNK, end - start), start)
        if not chunk:  # cut short since it was opened
            return
        start += len(chunk)
        yield chunk


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _named(error, path) from error


def _named(error: OSError, path: Path) -> PhenostreamError:
    if error.errno in _ABSENT:
        return NotFoundError(f"there is no file {path}", remedy="check the path")
    if error.errno in _REFUSED:
        return ForbiddenError(f"{path} may not be read", remedy="check its permissions")
    if error.errno == errno.ELOOP:
        return HostileError(f"{path} is a circle of links")
    return BrokenTransferError(f"{path}: {error.strerror or error}", remedy="check the disk or the mount")


def _raise(error: OSError) -> None:
    raise _named(error, Path(str(error.filename))) from error
