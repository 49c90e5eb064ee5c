"""HTTPS (and plain HTTP) with ranges."""

from __future__ import annotations

import re
import time
import weakref
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from functools import cache
from typing import TYPE_CHECKING

import httpx

from phenostream.errors import (
    BrokenTransferError,
    ForbiddenError,
    HostileError,
    NotFoundError,
    PhenostreamError,
    RecipeError,
    ThrottledError,
    UnreachableError,
)
from phenostream.sources.names import join, shown
from phenostream.sources.transport import USER_AGENT, Arrival

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from phenostream.sources.options import TransportOptions

_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")
_MISSING = {404, 410}
_CLOSED = {401, 403, 407, 451}
_PATIENCE = {429, 503}
_PASSING = {408, 425, 500, 502, 504, 520, 521, 522, 523, 524}
_NO_HEAD = {405, 501}


class Transport:
    """Reads from a server that understands ``Range`` (RFC 9110, section 14), as nearly all file servers do."""

    def __init__(self, base: str, options: TransportOptions) -> None:
        """Read below the URL `base`; proxies and certificates come from the environment, as `httpx` documents."""
        self._base = base
        self._hides_missing = options.hides_missing
        self._client = httpx.Client(
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
            timeout=httpx.Timeout(options.timeout, connect=options.connect_timeout, pool=None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=options.connections),
            follow_redirects=True,
            verify=_trust(),
            max_redirects=options.redirects,
            event_hooks={"response": [_refuse_downgrade]},
        )
        weakref.finalize(self, self._client.close)

    @contextmanager
    def fetch(self, key: str, *, start: int = 0, stop: int | None = None, version: str = "") -> Iterator[Arrival]:
        """See `phenostream.sources.transport.Transport`."""
        url = join(self._base, key)
        with _told(url):
            if stop is not None and stop <= start:
                yield self._head(url, start)
                return
            with self._client.stream("GET", url, headers=_wanted(start, stop, version)) as response:
                self._refuse(response, url)
                yield _arrival(response, url, start)

    def _head(self, url: str, start: int) -> Arrival:
        response = self._client.head(url)
        if response.status_code in _NO_HEAD:  # one byte tells as much
            with self._client.stream("GET", url, headers=_wanted(0, 1, "")) as one:
                self._refuse(one, url)
                told = _arrival(one, url, 0)
                return Arrival(told.total, told.version, start, iter(()))
        self._refuse(response, url)
        return Arrival(_length(response), _version(response), start, iter(()))

    def _refuse(self, response: httpx.Response, url: str) -> None:
        status = response.status_code
        if status < 300 or status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return
        if status in _MISSING or (status == 403 and self._hides_missing):
            raise NotFoundError(f"{shown(url)} does not exist ({status})", remedy="check the name and the base URL")
        if status in _PATIENCE:
            after = _retry_after(response.headers)
            raise ThrottledError(
                f"{shown(url)}: the server asks for patience ({status})",
                remedy="lower connections or rate in the source's options",
                retry_after=after,
            )
        if status in _PASSING:
            raise BrokenTransferError(f"{shown(url)}: the server failed ({status})", remedy="try again later")
        remedy = "check credentials, or hides_missing for a bucket that may not be listed" if status in _CLOSED else ""
        raise ForbiddenError(f"{shown(url)} was refused ({status})", remedy=remedy or "check the URL")


@cache
def _trust() -> ssl.SSLContext:
    # Reading all certificates takes longer than a small transfer: once a process is enough.
    return httpx.create_ssl_context()


def _wanted(start: int, stop: int | None, version: str) -> dict[str, str]:
    if start == 0 and stop is None:
        return {}
    headers = {"Range": f"bytes={start}-{'' if stop is None else stop - 1}"}
    if version and not version.startswith("W/"):  # If-Range takes strong validators only
        headers["If-Range"] = version
    return headers


def _arrival(response: httpx.Response, url: str, start: int) -> Arrival:
    version = _version(response)
    if response.status_code == httpx.codes.OK:
        return Arrival(_length(response), version, 0, response.iter_raw())
    told = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if told is None:
        raise BrokenTransferError(f"{shown(url)}: a partial answer without a Content-Range", remedy="try again later")
    total = None if told[3] == "*" else int(told[3])
    if told[1] is None:  # 416: the range lies behind the end
        return Arrival(total, version, start, iter(()))
    length = _length(response)
    if length is not None and length != int(told[2]) - int(told[1]) + 1:
        raise BrokenTransferError(f"{shown(url)}: Content-Length {length} denies Content-Range {told[0]}")
    return Arrival(total, version, int(told[1]), response.iter_raw())


def _length(response: httpx.Response) -> int | None:
    told = response.headers.get("Content-Length", "")
    return int(told) if told.isdecimal() else None


def _version(response: httpx.Response) -> str:
    return str(response.headers.get("ETag") or response.headers.get("Last-Modified") or "")


def _retry_after(headers: httpx.Headers) -> float:
    """Seconds that the server asks for: a number, or a date (RFC 9110, section 10.2.3); 0 where it does not say."""
    told = headers.get("Retry-After", "").strip()
    try:
        return max(0.0, float(told) if told.isdecimal() else parsedate_to_datetime(told).timestamp() - time.time())
    except (ValueError, TypeError):
        return 0.0


def _refuse_downgrade(response: httpx.Response) -> None:
    if response.has_redirect_location and response.request.url.scheme == "https":
        target = response.request.url.join(response.headers["Location"])
        if target.scheme != "https":
            raise HostileError(f"{shown(str(response.request.url))} redirects to the unprotected {shown(str(target))}")


@contextmanager
def _told(url: str) -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise _named(error, shown(url)) from error


def _named(error: Exception, url: str) -> PhenostreamError:
    told = str(error) or type(error).__name__
    if isinstance(error, httpx.TooManyRedirects):
        return ForbiddenError(f"{url} redirects without end", remedy="give the final URL as base")
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
        return RecipeError(f"{url} is not a URL that can be read: {told}")
    if "CERTIFICATE_VERIFY_FAILED" in told:
        return ForbiddenError(f"{url}: the certificate is not trusted", remedy="set SSL_CERT_FILE to your CA bundle")
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        return UnreachableError(f"{url} cannot be reached: {told}", remedy="check the host name, network and proxy")
    return BrokenTransferError(f"{url}: the transfer broke: {told}", remedy="it is continued where it broke")
