"""Downloads: a file that is whole and hashed before it gets its name."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from phenostream import disk
from phenostream.errors import DamagedError
from phenostream.sources.stores import LocalStore, RemoteStore
from phenostream.sources.trips import FileSink

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from phenostream.values import Store


@dataclass(frozen=True, slots=True)
class Digest:
    """What a file holds.

    Attributes:
        sha256: 64 hex digits.
        bytes: its length.
    """

    sha256: str
    bytes: int


def download(
    store: Store,
    key: str,
    path: str | os.PathLike[str],
    *,
    span: tuple[int, int] | None = None,
    sha256: str = "",
) -> Digest:
    """Bring the blob `key` (or its bytes ``span[0]`` to ``span[1]``) into the file `path`.

    It is written under a temporary name in the same folder, continued by range after a break, hashed, synced, and only
    then renamed: a file under its final name is whole. On any error the temporary file is gone.

    Raises DamagedError where the hash is not the `sha256` expected, DiskFullError where the disk refuses, else what the
    store raises.
    """
    target = Path(path)
    start, stop = span or (0, None)
    with temporary(target) as file:
        sink = FileSink(file)
        if isinstance(store, LocalStore | RemoteStore):
            store.pull(key, sink, start, stop)
        else:
            sink.write(store.read(key, start, stop))
        digest = Digest(sink.sha256.hexdigest(), file.tell())
        if sha256 and digest.sha256 != sha256.lower():
            raise DamagedError(
                f"{key} has the SHA-256 {digest.sha256}, expected {sha256}", remedy="fetch it again or correct the hash"
            )
    return digest


@contextmanager
def temporary(target: Path, *, sync: bool = True) -> Iterator[BinaryIO]:
    """A new file beside `target` that takes its name when the block ends well, and vanishes when it does not.

    With `sync`, file and folder are on the disk before the block's caller goes on. Raises DiskFullError.
    """
    with full_disk_named(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name[:64]}.", suffix=disk.PART, dir=target.parent)
        with disk.taking_place(Path(name), target, durable=sync), os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())


def full_disk_named(target: Path) -> AbstractContextManager[None]:
    """Turn the system's words for a disk that takes no more into DiskFullError."""
    remedy = "free space, or point the run to another disk"
    return disk.named(f"{target} cannot be written", remedy=remedy, refusals=disk.FULL)
