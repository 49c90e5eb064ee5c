"""Bytes by name: the only thing a format knows about where it is read from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator


@runtime_checkable
class Store(Protocol):
    """A read-only namespace of immutable blobs, local or remote.

    Keys are relative POSIX paths: no leading slash, no empty, ``.`` or ``..`` part. A store refuses others with
    :class:`~phenostream.errors.HostileError` and a missing key with :class:`~phenostream.errors.NotFoundError`. What
    `read` returns has arrived whole: never fewer bytes than asked for (within the blob's size). Stores can be pickled.
    """

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """Bytes `start` to `stop` (exclusive; to the end when None) of the blob `key`."""
        ...

    def size(self, key: str) -> int:
        """Length of the blob `key` in bytes."""
        ...

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Keys below the folder `prefix`, sorted; NotFoundError where the transport cannot list (plain HTTP)."""
        ...
