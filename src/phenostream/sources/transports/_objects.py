"""What S3 and Google Cloud Storage share: objects below a bucket, read through obstore."""

from __future__ import annotations

import re
from contextlib import contextmanager, nullcontext, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import (
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.exceptions import NotFoundError as AbsentError

from phenostream.errors import (
    BrokenTransferError,
    ForbiddenError,
    NotFoundError,
    PhenostreamError,
    RecipeError,
    ThrottledError,
    UnreachableError,
    UnsettledError,
)
from phenostream.sources.names import is_loopback
from phenostream.sources.transport import USER_AGENT, Arrival

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from phenostream.sources.options import TransportOptions

_CHUNK = 1 << 20
_STATUS = re.compile(r"status code: (\d{3})")
_PATIENCE = {429, 503}
_PASSING = {408, 416, 425}
_UNREACHED = re.compile(
    r"error trying to connect|dns error|Connection refused|ConnectError|connect error", re.IGNORECASE
)
_BEHIND = re.compile(r"\b416\b|InvalidRange|range.*(out of|exceed|larger|start)", re.IGNORECASE)


class ObjectTransport:
    """Reads objects below ``scheme://bucket/prefix``."""

    advice: ClassVar[str]
    """What to check where the service refuses a request for another reason than credentials."""

    def __init__(self, base: str, options: TransportOptions) -> None:
        """Read below the URL `base`. Raises RecipeError where it names no bucket or its endpoint is unprotected."""
        parts = urlsplit(base)
        if not parts.netloc:
            raise RecipeError(f"{base} names no bucket", remedy=f"{parts.scheme}://bucket/prefix")
        self._base = f"{parts.scheme}://{parts.netloc}/{parts.path.strip('/')}".rstrip("/")
        self._prefix = unquote(parts.path).strip("/")
        self._hides_missing = options.hides_missing
        self._store = self.opened(parts.netloc, options)

    def opened(self, bucket: str, options: TransportOptions) -> Any:
        """The obstore store of `bucket`."""
        raise NotImplementedError

    @contextmanager
    def fetch(self, key: str, *, start: int = 0, stop: int | None = None, version: str = "") -> Iterator[Arrival]:
        """See `phenostream.sources.transport.Transport`."""
        if stop is not None and stop <= start:
            yield self._head(key, start)
            return
        yield self._get(key, start, stop, version)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """See `phenostream.sources.transport.Lister`."""
        cut = len(self._prefix) + 1 if self._prefix else 0
        with self._told(prefix):
            for page in obstore.list(self._store, self._path(prefix).rstrip("/") or None):
                yield from (str(one["path"])[cut:] for one in page)

    def put(self, key: str, content: bytes | Path) -> str:
        """See `phenostream.sources.depots.Writer`; bytes go in one request, large files in several."""
        told: Any = {"use_multipart": False} if isinstance(content, bytes) else {}
        with self._told(key):
            return str(obstore.put(self._store, self._path(key), content, **told).get("e_tag") or "")

    def delete(self, keys: list[str]) -> None:
        """See `phenostream.sources.depots.Writer`."""
        with suppress(NotFoundError) if len(keys) == 1 else nullcontext(), self._told(keys[0] if keys else ""):
            obstore.delete(self._store, [self._path(key) for key in keys])

    def _get(self, key: str, start: int, stop: int | None, version: str) -> Arrival:
        options: Any = {}
        if start or stop is not None:
            options["range"] = {"offset": start} if stop is None else (start, stop)
        if version:
            options["if_match"] = version
        try:
            with self._told(key):
                found = obstore.get(self._store, self._path(key), options=options or None)
        except BrokenTransferError as error:
            # The library words a range behind the end in several ways: the size decides.
            if not _BEHIND.search(str(error)) or (told := self._head(key, start)).total is None or start < told.total:
                raise
            return told
        chunks = self._chunks(key, found.stream(min_chunk_size=_CHUNK))
        return Arrival(int(found.meta["size"]), _version(found.meta), int(found.range[0]), chunks)

    def _head(self, key: str, start: int) -> Arrival:
        with self._told(key):
            meta = obstore.head(self._store, self._path(key))
        return Arrival(int(meta["size"]), _version(meta), start, iter(()))

    def _chunks(self, key: str, stream: Any) -> Iterator[bytes]:
        while True:
            with self._told(key):
                chunk = next(stream, None)
            if chunk is None:
                return
            yield bytes(chunk)

    def _path(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key

    @contextmanager
    def _told(self, key: str) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            raise self._named(error, f"{self._base}/{key}") from error

    def _named(self, error: Exception, url: str) -> PhenostreamError:
        closed = isinstance(error, PermissionDeniedError | UnauthenticatedError | PermissionError)
        if isinstance(error, AbsentError | FileNotFoundError) or (closed and self._hides_missing):
            return NotFoundError(f"{url} does not exist", remedy="check bucket, prefix and endpoint")
        if closed:
            return ForbiddenError(
                f"{url} was refused",
                remedy="check credentials and anonymous, or hides_missing for a bucket that may not be listed",
            )
        if isinstance(error, PreconditionError):
            return UnsettledError(f"{url} changed while it was being read", remedy="try again when it has settled")
        return self._untyped(error, url)

    def _untyped(self, error: Exception, url: str) -> PhenostreamError:
        # The library names only some answers by type; the others say their status in the text.
        told = " ".join(str(error).split("\n\nDebug source:")[0].split())[:400]
        found = _STATUS.search(told)
        status = int(found[1]) if found else 0
        if status in _PATIENCE:
            return ThrottledError(f"{url}: the service asks for patience: {told}", remedy="lower connections or rate")
        if status == 404:
            return NotFoundError(f"{url} does not exist: {told}", remedy="check bucket, prefix and endpoint")
        if "Received redirect" in told or (300 <= status < 500 and status not in _PASSING):
            return ForbiddenError(f"{url} was refused: {told}", remedy=self.advice)
        if _UNREACHED.search(str(error)):  # named only in the library's second part
            return UnreachableError(f"{url} cannot be reached: {told}", remedy="check endpoint, network and proxy")
        return BrokenTransferError(f"{url}: the transfer broke: {told}", remedy="it is continued where it broke")


def _version(meta: Any) -> str:
    return str(meta.get("e_tag") or meta.get("last_modified") or "")


def client(endpoint: str, options: TransportOptions) -> dict[str, Any]:
    """How requests are sent. Raises RecipeError for a plain-HTTP `endpoint` elsewhere that was not allowed."""
    return {
        "user_agent": USER_AGENT,
        "connect_timeout": timedelta(seconds=options.connect_timeout),
        "read_timeout": timedelta(seconds=options.timeout),
        # The library's own limit is on the whole transfer, however well it goes.
        "timeout": timedelta(days=1),
        "allow_http": _may_be_plain(endpoint, options),
    }


def _may_be_plain(endpoint: str, options: TransportOptions) -> bool:
    if urlsplit(endpoint).scheme != "http":
        return False
    if not options.allow_http and not is_loopback(urlsplit(endpoint).hostname or ""):
        raise RecipeError(
            f"the endpoint {endpoint} is not protected",
            remedy="use https://, or say allow_http: true for your own network",
        )
    return True
