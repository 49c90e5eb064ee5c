"""S3 and services that speak its protocol, with or without credentials."""

from __future__ import annotations

import ipaddress
import os
import re
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import (
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.exceptions import NotFoundError as AbsentError
from obstore.store import S3Store

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
from phenostream.sources.transport import USER_AGENT, Arrival

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import SecretStr

    from phenostream.sources.options import TransportOptions

_CHUNK = 1 << 20
# Where credentials may come from besides the key pair: web identity (EKS), container roles (ECS).
_ROLES = ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
_STATUS = re.compile(r"status code: (\d{3})")
_PATIENCE = {429, 503}
_PASSING = {408, 416, 425}
_UNREACHED = re.compile(
    r"error trying to connect|dns error|Connection refused|ConnectError|connect error", re.IGNORECASE
)
_BEHIND = re.compile(r"\b416\b|InvalidRange|range.*(out of|exceed|larger|start)", re.IGNORECASE)


class Transport:
    """Reads objects below ``s3://bucket/prefix``."""

    def __init__(self, base: str, options: TransportOptions) -> None:
        """Read below the URL `base`. Raises RecipeError where it names no bucket or its endpoint is unprotected."""
        parts = urlsplit(base)
        if not parts.netloc:
            raise RecipeError(f"{base} names no bucket", remedy="s3://bucket/prefix")
        self._base = f"s3://{parts.netloc}/{parts.path.strip('/')}".rstrip("/")
        self._prefix = unquote(parts.path).strip("/")
        self._hides_missing = options.hides_missing
        self._store = _store(parts.netloc, options)

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
        return _untyped(error, url)


def _untyped(error: Exception, url: str) -> PhenostreamError:
    """The library names only some answers by type; the others say their status in the text."""
    told = " ".join(str(error).split("\n\nDebug source:")[0].split())[:400]
    found = _STATUS.search(told)
    status = int(found[1]) if found else 0
    if status in _PATIENCE:
        return ThrottledError(f"{url}: the service asks for patience: {told}", remedy="lower connections or rate")
    if "Received redirect" in told or (300 <= status < 500 and status not in _PASSING):
        return ForbiddenError(f"{url} was refused: {told}", remedy="check region, endpoint and path_style")
    if _UNREACHED.search(str(error)):  # named only in the library's second part
        return UnreachableError(f"{url} cannot be reached: {told}", remedy="check endpoint, network and proxy")
    return BrokenTransferError(f"{url}: the transfer broke: {told}", remedy="it is continued where it broke")


def _version(meta: Any) -> str:
    return str(meta.get("e_tag") or meta.get("last_modified") or "")


def _store(bucket: str, options: TransportOptions) -> S3Store:
    endpoint = options.endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    config: dict[str, Any] = {
        "region": _region(options),
        "virtual_hosted_style_request": not options.path_style,
        "skip_signature": _anonymous(options),
        **_secrets(options),
    }
    if endpoint:
        config["endpoint"] = endpoint
    client: dict[str, Any] = {
        "user_agent": USER_AGENT,
        "connect_timeout": timedelta(seconds=options.connect_timeout),
        "read_timeout": timedelta(seconds=options.timeout),
        # The library's own limit is on the whole transfer, however well it goes.
        "timeout": timedelta(days=1),
        "allow_http": _may_be_plain(endpoint, options),
    }
    made: Any = S3Store(bucket, config=config, client_options=client, retry_config={"max_retries": 0})  # type: ignore[arg-type]
    return made  # type: ignore[no-any-return]


def _region(options: TransportOptions) -> str:
    told = options.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return told or "us-east-1"


def _secrets(options: TransportOptions) -> dict[str, str]:
    named: dict[str, SecretStr | None] = {
        "access_key_id": options.access_key_id,
        "secret_access_key": options.secret_access_key,
        "session_token": options.session_token,
    }
    return {name: secret.get_secret_value() for name, secret in named.items() if secret is not None}


def _anonymous(options: TransportOptions) -> bool:
    if options.anonymous is not None:
        return options.anonymous
    return options.access_key_id is None and not any(os.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", *_ROLES))


def _may_be_plain(endpoint: str, options: TransportOptions) -> bool:
    if urlsplit(endpoint).scheme != "http":
        return False
    if not options.allow_http and not _is_loopback(urlsplit(endpoint).hostname or ""):
        raise RecipeError(
            f"the S3 endpoint {endpoint} is not protected",
            remedy="use https://, or say allow_http: true for your own network",
        )
    return True


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
