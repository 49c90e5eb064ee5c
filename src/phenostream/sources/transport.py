"""What a transport is: one method that brings bytes. All patience and checking lies on top, in the store."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

USER_AGENT = f"phenostream/{version('phenostream')} (+https://phenostream.readthedocs.io)"


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a server has begun to send.

    Attributes:
        total: length of the whole blob in bytes; None where the server does not say.
        version: changes when the blob changes (ETag, else time of last change); empty where the server does not say.
        start: position in the blob of the first byte of `chunks`. 0 where a server ignored the range asked for.
        chunks: the bytes as they come. They may end early or run past the range: the store notices.
    """

    total: int | None
    version: str
    start: int
    chunks: Iterator[bytes]


class Transport(Protocol):
    """Brings bytes from below one base; a module of ``sources/transports`` has a class of this name.

    It is made as ``Transport(base, options)``, must be safe to use from several threads, and does not retry or check.
    """

    def fetch(
        self, key: str, *, start: int = 0, stop: int | None = None, version: str = ""
    ) -> AbstractContextManager[Arrival]:
        """Ask for bytes `start` to `stop` (exclusive; None: to the end) of the blob `key`.

        An empty range (``start == stop``) asks for total and version only. A `version` is what the caller already has
        a part of: the transport may let the server refuse to continue another. A range behind the end gives no chunks.

        Raises: NotFoundError, ForbiddenError, HostileError (terminal); UnreachableError, BrokenTransferError,
        ThrottledError (transient, also out of `chunks`); UnsettledError where the server refused because of `version`.
        """
        ...


@runtime_checkable
class Lister(Protocol):
    """An ability that some transports have besides: names below a folder."""

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Keys that begin with `prefix` (empty, or ending in a slash), relative to the base, in any order."""
        ...
