"""FTP, and FTP over TLS, with ranges by ``REST`` (RFC 959, 2228, 3659)."""

from __future__ import annotations

import re
import ssl
import time
import weakref
from collections import deque
from contextlib import contextmanager, suppress
from ftplib import Error, error_perm, error_reply, error_temp
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

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
from phenostream.sources.names import is_loopback, join, shown
from phenostream.sources.transport import Arrival
from phenostream.sources.transports._ftp_line import Line

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from phenostream.sources.options import TransportOptions

_CHUNK = 256 << 10
_FRESH = 5.0
_DEEPEST = 64
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# What servers call a refusal, where they use the code for what does not exist; and a full house, for a refusal.
_REFUSED = re.compile(r"permission|denied|privileges|not permitted|not allowed", re.IGNORECASE)
_FULL = re.compile(r"too many|maximum|limit", re.IGNORECASE)
_NO_TLS = {"500", "502", "503", "504", "530", "534"}


class Transport:
    """Reads files below ``ftp://user@host:port/folder``; ``ftps`` asks for TLS on the same port, and insists."""

    def __init__(self, base: str, options: TransportOptions) -> None:
        """Read below the URL `base`; its path begins where the login ends, or at the root after ``/%2F``.

        Raises RecipeError: no host, control characters, or a password over a line that anyone on the way can read.
        """
        parts = urlsplit(base)
        self._base, self._options = base, options
        self._host, self._port = parts.hostname or "", parts.port or 21
        self._tls = parts.scheme == "ftps"
        self._user = options.user or unquote(parts.username or "") or "anonymous"
        given = options.password.get_secret_value() if options.password else unquote(parts.password or "")
        self._password = given or "phenostream@"
        self._root = unquote(parts.path.removeprefix("/")).rstrip("/")
        self._check(secret=bool(given))
        self._idle: deque[tuple[float, Line]] = deque()
        weakref.finalize(self, _hang_up, self._idle)

    def _check(self, *, secret: bool) -> None:
        if not self._host:
            raise RecipeError(f"{shown(self._base)} names no host", remedy="ftp://host/folder")
        if any(_CONTROL.search(word) for word in (self._host, self._user, self._password, self._root)):
            raise RecipeError(f"{shown(self._base)} holds control characters", remedy="correct the URL")
        readable = secret and not self._tls and not is_loopback(self._host)
        if readable and not self._options.allow_http:
            raise RecipeError(
                f"the password for {shown(self._base)} would travel unprotected",
                remedy="use ftps://, or say allow_http: true for your own network",
            )

    @contextmanager
    def fetch(self, key: str, *, start: int = 0, stop: int | None = None, version: str = "") -> Iterator[Arrival]:
        """See `phenostream.sources.transport.Transport`."""
        del version  # compared by the store, before a byte is read
        url, path = join(self._base, key), self._path(key)
        with self._line(url) as line:
            with _told(url):
                total, changed = line.length(path), line.changed(path)
            if (stop is not None and stop <= start) or (total is not None and total <= start):
                yield Arrival(total, changed, start, iter(()))
                return
            end = total if stop is None else stop if total is None else min(stop, total)
            with _told(url):
                begin, data = line.send(path, start, end)
            with data:
                yield Arrival(total, changed, begin, _chunks(line, data, None if end is None else end - begin, url))

    def keys(self, prefix: str = "") -> Iterator[str]:
        """See `phenostream.sources.transport.Lister`. A folder that the server shows twice is listed once."""
        url = join(self._base, prefix) if prefix else self._base
        seen: set[str] = set()
        with self._line(url) as line:
            waiting = [prefix]
            while waiting:
                folder = waiting.pop()
                with _told(url):
                    found = line.listed(self._path(folder.rstrip("/")))
                yield from (f"{folder}{entry.name}" for entry in found if not entry.is_folder)
                new = [entry for entry in found if entry.is_folder and entry.unique not in seen]
                seen.update(entry.unique for entry in new if entry.unique)
                waiting += (_deeper(f"{folder}{entry.name}/", url) for entry in new)

    def _path(self, key: str) -> str:
        if _CONTROL.search(key):
            raise HostileError(f"the name {key!r} holds control characters", remedy="FTP cannot carry it")
        path = f"{self._root}/{key}" if self._root and key else self._root or key
        # A name in front is taken for an option by servers that hand it to ls.
        return f"./{path}" if path.startswith("-") else path

    @contextmanager
    def _line(self, url: str) -> Iterator[Line]:
        line = self._reused() or self._opened(url)
        try:
            yield line
        finally:
            # A line on which something is still due would answer the next question with it.
            if line.clean:
                self._keep(line)
            else:
                line.close()

    def _reused(self) -> Line | None:
        while True:
            try:
                since, line = self._idle.pop()
            except IndexError:
                return None
            with suppress(OSError, EOFError, Error):
                if time.monotonic() - since > _FRESH:  # servers hang up on those who say nothing
                    line.voidcmd("NOOP")
                return line
            line.close()

    def _keep(self, line: Line) -> None:
        if len(self._idle) < self._options.connections:
            self._idle.append((time.monotonic(), line))
        else:
            line.close()

    def _opened(self, url: str) -> Line:
        line = Line(self._options.connect_timeout, self._options.timeout, _trust() if self._tls else None)
        try:
            with _told(url):
                _reach(line, self._host, self._port, url)
                if self._tls:
                    _protect(line, url)
                line.enter(self._user, self._password, private=self._tls)
        except BaseException:
            line.close()
            raise
        return line


@cache
def _trust() -> ssl.SSLContext:
    # Reading all certificates takes longer than a small transfer: once a process is enough.
    return ssl.create_default_context()


def _reach(line: Line, host: str, port: int, url: str) -> None:
    try:
        line.connect(host, port)
    except OSError as error:
        told = str(error) or type(error).__name__
        raise UnreachableError(
            f"{shown(url)} cannot be reached: {told}", remedy="check host name and network"
        ) from error


def _protect(line: Line, url: str) -> None:
    try:
        line.auth()
    except error_perm as error:
        if str(error)[:3] not in _NO_TLS:
            raise
        raise ForbiddenError(f"{shown(url)}: the server does not speak TLS", remedy="use ftp://") from error


def _chunks(line: Line, data: socket.socket, left: int | None, url: str) -> Iterator[bytes]:
    """The body: `left` bytes, None for all until the server ends it."""
    while left is None or left > 0:
        with _told(url):
            chunk = data.recv(_CHUNK if left is None else min(_CHUNK, left))
            if not chunk:
                line.finish(data)  # says whether the server ended it or it broke
                return
        left = None if left is None else left - len(chunk)
        yield chunk
    line.hang_up(data)


def _deeper(folder: str, url: str) -> str:
    if folder.count("/") > _DEEPEST:
        raise HostileError(f"{shown(url)} holds folders without end", remedy="list a folder below it")
    return folder


def _hang_up(idle: deque[tuple[float, Line]]) -> None:
    while idle:
        idle.pop()[1].close()


@contextmanager
def _told(url: str) -> Iterator[None]:
    try:
        yield
    except (Error, OSError, EOFError) as error:
        if isinstance(error, PhenostreamError):
            raise
        raise _named(error, shown(url)) from error


def _named(error: Exception, url: str) -> PhenostreamError:
    """The name of a failure; replies by their code (RFC 959, section 4.2)."""
    told = " ".join(str(error).split())[:300] or type(error).__name__
    if isinstance(error, ssl.SSLCertVerificationError):
        return ForbiddenError(f"{url}: the certificate is not trusted", remedy="set SSL_CERT_FILE to your CA bundle")
    code = told[:3] if isinstance(error, error_perm | error_temp | error_reply) else ""
    if code == "421" or (code == "530" and _FULL.search(told)):
        return ThrottledError(f"{url}: the server asks for patience: {told}", remedy="lower connections or rate")
    if code == "550" and not _REFUSED.search(told.replace(url, "")):
        return NotFoundError(f"{url} does not exist: {told}", remedy="check the name and the base URL")
    if code.startswith(("3", "5")):
        return ForbiddenError(f"{url} was refused: {told}", remedy="check user and password")
    return BrokenTransferError(f"{url}: the transfer broke: {told}", remedy="it is continued where it broke")
