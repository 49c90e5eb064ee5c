"""Files that appear whole or not at all, and what is said where they cannot be written."""

from __future__ import annotations

import gzip
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, cast

from phenostream import disk
from phenostream.errors import ForbiddenError, NotFoundError, RecipeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; what was written there takes its name when the block ends well.

    Raises:
        NotFoundError: the folder of `path` is not there.
        DiskFullError: the disk is full, failing or read-only; `path` is as it was, nothing is left over.
        ForbiddenError: the folder may not be written.
    """
    with _named(path), disk.replacing(path) as temporary:
        yield temporary


@contextmanager
def replacing_folder(path: Path, *, ours: Callable[[str], bool]) -> Iterator[Path]:
    """A temporary folder beside `path`; it takes its place when the block ends well.

    Args:
        path: the folder to make, or to replace where it holds only files that `ours` knows by name.
        ours: whether a file of that name may be replaced.

    Raises:
        RecipeError: the folder holds other files. Others as :func:`replacing`.
    """
    if path.exists():
        others = [path.name] if not path.is_dir() else sorted(e.name for e in path.iterdir() if not ours(e.name))
        if others:
            raise RecipeError(f"{path} already holds {others[0]!r}", remedy="choose a new or empty folder")
    with _named(path), disk.replacing_folder(path) as temporary:
        yield temporary


@contextmanager
def compressed(stream: IO[bytes], level: int = 6) -> Iterator[IO[bytes]]:
    """`stream` behind gzip without name or clock in its header (mtime 1), so that equal input gives equal bytes."""
    with gzip.GzipFile(filename="", mode="wb", compresslevel=level, fileobj=stream, mtime=1) as packed:
        yield cast("IO[bytes]", packed)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    with disk.named(f"cannot write {path}", remedy="free disk space, then again", refusals=disk.FULL):
        try:
            yield
        except OSError as error:
            if disk.refused(error, disk.FULL):
                raise
            if isinstance(error, PermissionError) and error.errno:
                raise ForbiddenError(f"cannot write {path}: {error.strerror}", remedy="choose another place") from error
            if not path.parent.is_dir():
                raise NotFoundError(
                    f"there is no folder {path.parent}", remedy="make it, or choose another place"
                ) from error
            raise
