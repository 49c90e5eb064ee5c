"""How a file becomes durable in an experiment's folder, and who holds the folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phenostream import disk

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

_REMEDY = "free disk space or choose another folder, then run again: it goes on at the last checkpoint"


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file, then fsync it and rename it to `path`: a file under its name is whole.

    Raises:
        DiskFullError: the disk is full or cannot be written; what stood at `path` still does.
    """
    temporary = path.with_name(path.name + disk.PART)
    named = disk.named(f"cannot write {path}", remedy=_REMEDY, refusals=disk.FULL | disk.CLOSED)
    with named, disk.taking_place(temporary, path):
        write(temporary)
        disk.sync(temporary)


def replace_text(path: Path, text: str) -> None:
    """Replace a text file whole."""
    replace(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def held(folder: Path) -> AbstractContextManager[None]:
    """Hold `folder` for this process. Raises BusyError with the pid of the one that has it.

    The lock is the process's own: workers that outlive it for a moment, after a kill, do not keep the next one out.
    """
    return disk.held(folder, told="process {pid} trains in {folder}", remedy="wait, or stop it")
