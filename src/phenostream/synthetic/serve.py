"""A file server for one folder on the loopback interface, with ranges, a slow-motion switch and exact counts."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote, urlsplit

from phenostream.sources.limits import Gate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_CHUNK = 64 << 10


@dataclass(frozen=True, slots=True)
class Visit:
    """One request that came in.

    Attributes:
        method: ``GET`` or ``HEAD``.
        key: path of the file, relative to the folder.
        range: the Range header, empty where there was none.
        status: of the answer.
        length: bytes of body that the answer announced.
    """

    method: str
    key: str
    range: str
    status: int
    length: int


@dataclass(slots=True)
class Answer:
    """What goes back: status, headers, and the body as it is sent. One that raises ConnectionError breaks the line."""

    status: int
    headers: dict[str, str]
    body: Iterator[bytes] = field(default_factory=lambda: iter(()))


class RangeServer:
    """Serves a folder over HTTP/1.1 on 127.0.0.1: ``with RangeServer(folder) as server: open_store(server.url)``.

    It knows GET, HEAD, keep-alive, single ranges, ``If-Range``, ``If-Match`` and ETags (the MD5 of the file, as S3 has
    it), and refuses names and links that leave the folder. It is for the demo, tests and benchmarks, not for a network.

    Attributes:
        folder: what is served.
        visits: every request so far, in order of arrival.
        bytes: body bytes sent so far.
        connections: connections opened so far.
    """

    def __init__(self, folder: str | os.PathLike[str], *, rate: float | None = None, latency: float = 0.0) -> None:
        """Serve `folder`, with `rate` bytes a second over all connections and `latency` seconds before each answer."""
        self.folder = Path(os.path.realpath(folder))
        self.visits: list[Visit] = []
        self.bytes = 0
        self.connections = 0
        self._gate = Gate(1, rate)
        self._latency = latency
        self._lock = threading.Lock()
        self._server: _Server | None = None

    @property
    def url(self) -> str:
        """Base URL, without a slash at the end. RuntimeError before the start."""
        if self._server is None:
            raise RuntimeError("the server is not running: use it in a with statement")
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def requests(self) -> int:
        """Number of requests so far."""
        return len(self.visits)

    def reset_counts(self) -> None:
        """Begin counting anew."""
        with self._lock:
            self.visits.clear()
            self.bytes = self.connections = 0

    def start(self) -> Self:
        """Begin to serve, on a free port."""
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Stop serving and close all connections."""
        if self._server is not None:
            self._server.shutdown()
            self._server.hang_up()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def answer(self, method: str, key: str, headers: Mapping[str, str]) -> Answer:
        """What a request for the file `key` gets."""
        del method  # HEAD differs only in that the body is not sent
        path = self._inside(key)
        if path is None:
            return Answer(HTTPStatus.NOT_FOUND, {"Content-Length": "0"})
        size, tag = path.stat().st_size, etag(path)
        shared = {"ETag": tag, "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        if headers.get("If-Match", tag) != tag:
            return Answer(HTTPStatus.PRECONDITION_FAILED, {"Content-Length": "0"})
        span = _span(headers, size, tag)
        if span is None:
            return Answer(HTTPStatus.OK, shared | {"Content-Length": str(size)}, _body(path, 0, size))
        start, stop = span
        if start >= stop:
            told = {"Content-Range": f"bytes */{size}", "Content-Length": "0"}
            return Answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, shared | told)
        told = {"Content-Range": f"bytes {start}-{stop - 1}/{size}", "Content-Length": str(stop - start)}
        return Answer(HTTPStatus.PARTIAL_CONTENT, shared | told, _body(path, start, stop))

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer the request that `handler` has parsed."""
        key = unquote(urlsplit(handler.path).path).lstrip("/")
        answer = self.answer(handler.command, key, {name.title(): value for name, value in handler.headers.items()})
        length = int(answer.headers.get("Content-Length", "0")) if handler.command == "GET" else 0
        visit = Visit(handler.command, key, handler.headers.get("Range", ""), answer.status, length)
        with self._lock:
            self.visits.append(visit)
        time.sleep(self._latency)
        _head(handler, answer)
        if handler.command == "GET":
            for chunk in answer.body:
                self._send(handler, chunk)

    def _send(self, handler: BaseHTTPRequestHandler, chunk: bytes) -> None:
        # Counted before it leaves, so that whoever has received a byte finds it counted.
        with self._lock:
            self.bytes += len(chunk)
        self._gate.spend(len(chunk), time.monotonic, time.sleep)
        handler.wfile.write(chunk)

    def _inside(self, key: str) -> Path | None:
        try:
            real = Path(os.path.realpath(self.folder / key))
        except ValueError:  # a NUL in the name
            return None
        return real if real.is_relative_to(self.folder) and real.is_file() else None


class _Server(ThreadingHTTPServer):
    """Threads, and a list of open connections so that stopping closes them."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, owner: RangeServer) -> None:
        self.owner = owner
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        self.owner.connections += 1  # one thread accepts
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        for connection in tuple(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A visitor that hangs up is no news."""


class _Handler(BaseHTTPRequestHandler):
    """Hands requests to the server that owns it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = _CHUNK
    server: _Server

    def do_GET(self) -> None:
        self.server.owner.serve(self)

    do_HEAD = do_GET  # noqa: N815  (the name that the standard library looks for)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """`visits` is the log."""


def etag(path: Path) -> str:
    """The ETag of a file: its MD5 in quotes, computed once for each state of the file."""
    found = path.stat()
    return _md5(str(path), found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=65_536)
def _md5(path: str, mtime: int, size: int) -> str:
    del mtime, size  # they say which state of the file is meant
    with Path(path).open("rb") as file:
        return f'"{hashlib.file_digest(file, _insecure_md5).hexdigest()}"'


def _insecure_md5() -> Any:
    return hashlib.md5(usedforsecurity=False)


def _span(headers: Mapping[str, str], size: int, tag: str) -> tuple[int, int] | None:
    """The range to send (empty where it cannot be satisfied), None for the whole file (RFC 9110, section 14.2)."""
    told = _RANGE.fullmatch(headers.get("Range", ""))
    if told is None or headers.get("If-Range", tag) != tag or told[0] == "bytes=-":
        return None
    if not told[1]:
        return max(0, size - int(told[2])), size
    return int(told[1]), min(size, int(told[2]) + 1) if told[2] else size


def _body(path: Path, start: int, stop: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while start < stop and (chunk := file.read(min(_CHUNK, stop - start))):
            start += len(chunk)
            yield chunk


def _head(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
    handler.send_response(answer.status)
    for name, value in answer.headers.items():
        handler.send_header(name, value)
    handler.end_headers()
