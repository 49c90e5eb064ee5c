"""How a package gets its place: whole and durable under its final name, or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from phenostream.errors import DiskFullError, ExistsError
from phenostream.inference.package import RDF, Package, open_package

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["free", "publish", "write_file"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG, errno.EACCES, errno.EPERM}


def free(target: Path, *, replace: bool) -> None:
    """Nothing where `target` may be written. Raises ExistsError; what is no package is never replaced."""
    if target.exists() and not (replace and (target / RDF).is_file()):
        raise ExistsError(f"{target} exists", remedy="choose another name, or say that the package may be replaced")


def publish(target: Path, files: Mapping[str, bytes], *, name: str, replace: bool = False) -> Package:
    """Write `files` beside `target`, open them as a package, and only then give them their name.

    Raises ExistsError where `target` exists and may not be replaced, DiskFullError, else as `open_package`.
    """
    free(target, replace=replace)
    with _disk_named(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    try:
        with _disk_named(target):
            for path, data in files.items():
                _durable(making / path, data)
            making.chmod(0o755)
        open_package(making)
        with _disk_named(target):
            _swap(making, target)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return open_package(target, name=name)


def write_file(target: Path, data: bytes) -> None:
    """Write one file, whole or not at all. Raises DiskFullError."""
    with _disk_named(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        making = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            _durable(making, data)
            making.replace(target)
        finally:
            making.unlink(missing_ok=True)


def _swap(making: Path, target: Path) -> None:
    """Put one folder in the place of another; the old one stays where the new one cannot come."""
    old = Path(f"{making}.old")
    if target.exists():
        target.rename(old)
    try:
        making.rename(target)
    except BaseException:
        if old.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _durable(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _disk_named(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, DiskFullError) or error.errno not in _FULL:
            raise
        raise DiskFullError(
            f"{target} cannot be written: {error.strerror}", remedy="free space, or choose another folder"
        ) from error
