"""How a package gets its place: whole and durable under its final name, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phenostream import disk
from phenostream.errors import ExistsError
from phenostream.inference.package import RDF, Package, open_package

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

__all__ = ["free", "publish", "write_file"]


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
        with disk.replacing_folder(target) as making:
            for path, data in files.items():
                (making / path).parent.mkdir(parents=True, exist_ok=True)
                (making / path).write_bytes(data)
            open_package(making)
    return open_package(target, name=name)


def write_file(target: Path, data: bytes) -> None:
    """Write one file, whole or not at all. Raises DiskFullError."""
    with _disk_named(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with disk.replacing(target) as making:
            making.write_bytes(data)


def _disk_named(target: Path) -> AbstractContextManager[None]:
    remedy = "free space, or choose another folder"
    return disk.named(f"{target} cannot be written", remedy=remedy, refusals=disk.FULL | disk.CLOSED)
