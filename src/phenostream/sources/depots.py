"""Depots: storage that other machines see too, into which finished files are put whole, and proven to have arrived."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from phenostream.errors import BrokenTransferError, ForbiddenError, NotFoundError, PhenostreamError, RecipeError
from phenostream.sources.download import temporary
from phenostream.sources.names import checked, shown
from phenostream.sources.options import TransportOptions
from phenostream.sources.stores import LocalStore, RemoteStore, scheme_of
from phenostream.sources.transport import Lister
from phenostream.sources.transports.local import folder_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    Content = bytes | Path
    """What is put: bytes, or a file."""

__all__ = ["Depot", "LocalDepot", "RemoteDepot", "Writer", "is_url", "open_depot"]

_URL = re.compile(r"^(s3|gs):/+(?=[^/])")
_MD5 = re.compile(r'"?([0-9a-f]{32})"?')
_CHUNK = 1 << 20
_AT_ONCE = 1000


@runtime_checkable
class Writer(Protocol):
    """An ability that some transports have besides reading."""

    def put(self, key: str, content: Content) -> str:
        """Store `content` as `key`, whole or not at all, in place of what was there; what the server calls it (ETag).

        Raises: ForbiddenError, NotFoundError (no such bucket: terminal); UnreachableError, BrokenTransferError,
        ThrottledError (transient).
        """
        ...

    def delete(self, keys: list[str]) -> None:
        """Delete what is there of `keys`. Raises as `put`."""
        ...


@runtime_checkable
class Depot(Protocol):
    """A store (`phenostream.values.Store`) that takes files as well."""

    base: str
    options: TransportOptions

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """See `phenostream.values.Store`."""
        ...

    def size(self, key: str) -> int:
        """See `phenostream.values.Store`."""
        ...

    def keys(self, prefix: str = "") -> Iterator[str]:
        """See `phenostream.values.Store`; none where there is nothing."""
        ...

    def put(self, key: str, content: Content) -> None:
        """Store `content` under `key` and prove it: once this returns, every reader finds exactly these bytes.

        Raises ForbiddenError, NotFoundError (no such bucket or mount), DiskFullError; and, after all tries that the
        options allow, UnreachableError, BrokenTransferError, ThrottledError.
        """
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Delete what is there of `keys`. Raises as `put`."""
        ...

    def is_empty(self) -> bool:
        """Whether nothing lies there yet."""
        ...


def is_url(base: str | os.PathLike[str]) -> str:
    """`base` as a URL of an object store, also where `Path` has taken one of its slashes; empty where it is a path."""
    text = os.fspath(base)
    found = _URL.match(text)
    return f"{found[1]}://{text[found.end() :]}" if found else ""


def open_depot(
    base: str, *, options: TransportOptions | None = None, sleep: Callable[[float], None] = time.sleep
) -> LocalDepot | RemoteDepot:
    """The depot below `base`: ``s3://bucket/prefix``, ``gs://bucket/prefix``, or a folder (of a mounted share).

    Nothing is asked of the network yet. `sleep` waits between tries; it may raise to end them.

    Raises:
        RecipeError: a scheme that cannot be written to.
    """
    options = options or TransportOptions()
    if url := is_url(base):
        return RemoteDepot(url, options, sleep=sleep)
    if scheme_of(base) != "local":
        raise RecipeError(f"{shown(base)} cannot be written to", remedy="name s3://, gs:// or a mounted folder")
    return LocalDepot(base, options)


def _number(folder: Path) -> tuple[int, int]:
    told = folder.stat()
    return told.st_dev, told.st_ino


class LocalDepot(LocalStore):
    """A folder, as a rule of a share that is mounted: temporary name, fsync, rename, fsync of the folder."""

    _known: tuple[int, int] | None = None  # device and number of the folder that the first file went into

    def put(self, key: str, content: Content) -> None:
        """See `Depot`."""
        root = folder_of(self.base)
        self._refuse_another(root)
        target = root / checked(key)
        try:
            with temporary(target) as file:
                os.fchmod(file.fileno(), target.parent.stat().st_mode & 0o666)  # as readable as its folder
                if isinstance(content, bytes):
                    file.write(content)
                else:
                    with content.open("rb") as source:
                        shutil.copyfileobj(source, file, _CHUNK)
        except PermissionError as error:
            raise ForbiddenError(f"{target} may not be written", remedy="change the folder's permissions") from error
        self._known = self._known or _number(root)

    def _refuse_another(self, root: Path) -> None:
        """Never write to the disk that hides behind a missing mount."""
        there = root if self._known or root.is_dir() else root.parent
        if not there.is_dir() or (self._known and _number(root) != self._known):
            raise NotFoundError(f"there is no folder {there} any more, or another one", remedy="is the share mounted?")

    def delete(self, keys: Iterable[str]) -> None:
        """See `Depot`."""
        for key in keys:
            path = folder_of(self.base) / checked(key)
            try:
                path.unlink(missing_ok=True)
            except PermissionError as error:
                raise ForbiddenError(f"{path} may not be deleted", remedy="change the folder's permissions") from error

    def root(self) -> Path:
        """The folder itself, links resolved."""
        return folder_of(self.base).resolve()

    def is_empty(self) -> bool:
        """See `Depot`."""
        return not any(files for *_, files in os.walk(self.root()))

    def keys(self, prefix: str = "") -> Iterator[str]:
        """See `Depot`."""
        try:
            return iter(list(super().keys(prefix)))
        except NotFoundError:
            return iter(())


class RemoteDepot(RemoteStore):
    """Objects below a URL; each one is put in one request and compared with what the server says that it stored.

    An ETag that is the MD5 of the bytes proves them. Where it is none (encryption with a customer's key, large files in
    several parts), the object is read back. What differs is put again, as after any other transient fault.
    """

    def put(self, key: str, content: Content) -> None:
        """See `Depot`."""
        wanted = _Digests.of(content)
        checked(key)

        def once() -> None:
            etag = self._asked(lambda writer: writer.put(key, content))
            with self._lock:
                self._sizes.pop(key, None)
            self._compare(key, etag, wanted)

        self._persevere(once)

    def delete(self, keys: Iterable[str]) -> None:
        """See `Depot`."""
        names = [checked(key) for key in keys]
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            self._persevere(lambda some=some: self._asked(lambda writer: writer.delete(some)))  # type: ignore[misc]

    def is_empty(self) -> bool:
        """See `Depot`; one page of names is asked for at most."""
        found: list[bool] = []

        def once() -> None:
            transport, gate = self._open()
            self.traffic.add(requests=1)
            with gate.turn:
                found.append(isinstance(transport, Lister) and next(iter(transport.keys()), None) is None)

        self._persevere(once)
        return found[-1]

    def _compare(self, key: str, etag: str, wanted: _Digests) -> None:
        found = _MD5.fullmatch(etag)
        if found and found[1] == wanted.md5():
            return
        sink = _Digests()
        self.pull(key, sink)
        if sink.sha256() != wanted.sha256():
            raise BrokenTransferError(
                f"{shown(self.base)}/{key}: the server has stored other bytes than were sent", remedy="try again later"
            )

    def _asked(self, ask: Callable[[Writer], Any]) -> Any:
        transport, gate = self._open()
        if not isinstance(transport, Writer):
            raise RecipeError(
                f"{shown(self.base)} cannot be written to", remedy="name s3://, gs:// or a mounted folder"
            )
        self.traffic.add(requests=1)
        with gate.turn:
            return ask(transport)

    def _persevere(self, act: Callable[[], None]) -> None:
        failures = 0
        while True:
            try:
                return act()
            except PhenostreamError as error:
                failures += 1
                self._be_patient(error, failures)
            self.traffic.add(retries=1)

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteDepot, (self.base, self.options)


class _Digests:
    """A sink that keeps nothing but the MD5 and SHA-256 of what passes."""

    def __init__(self) -> None:
        self.restart()

    @classmethod
    def of(cls, content: Content) -> _Digests:
        digests = cls()
        if isinstance(content, bytes):
            digests.write(content)
        else:
            with content.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digests.write(chunk)
        return digests

    def expect(self, count: int) -> None:
        """See `phenostream.sources.trips.Sink`: nothing is kept, so nothing is too large."""

    def write(self, chunk: bytes) -> None:
        self._md5.update(chunk)
        self._sha256.update(chunk)

    def restart(self) -> None:
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()

    def md5(self) -> str:
        return self._md5.hexdigest()

    def sha256(self) -> str:
        return self._sha256.hexdigest()
