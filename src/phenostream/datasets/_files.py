"""How a file becomes durable in a pack, and one writer at a time."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, BinaryIO

from phenostream import disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

_REMEDY = "free disk space or choose another folder, then run again: what is done is kept"


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
