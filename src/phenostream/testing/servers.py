"""Servers that misbehave on purpose, S3, Google Cloud Storage, FTP, all on the loopback interface; and an ascp."""

from __future__ import annotations

import io
import logging
import os
import random
import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import unquote, urlsplit

from phenostream.errors import MissingExtraError
from phenostream.synthetic.serve import Answer, RangeServer
from phenostream.testing._ascp import StandInAscp
from phenostream.testing._gcs import Guard, listing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from http.server import BaseHTTPRequestHandler

__all__ = ["Fault", "Faults", "FaultyServer", "FtpServer", "GcsServer", "RangeServer", "S3Server", "StandInAscp"]

Kind = Literal[
    "reset", "stall", "flip", "busy", "broken", "wrong-length", "etag", "ignore-range", "wrong-range", "forbidden"
]


@dataclass(frozen=True, slots=True)
class Fault:
    """One way in which an answer goes wrong.

    Attributes:
        kind: ``reset`` the connection after `after` body bytes; ``stall`` there for `seconds`; ``flip`` one bit of the
            byte at `after`; ``busy`` is 503 with Retry-After `seconds`; ``broken`` is 500; ``forbidden`` is 403;
            ``wrong-length`` announces one byte more; ``etag`` is another ETag; ``ignore-range`` sends the whole file;
            ``wrong-range`` sends, and announces, a range one byte later.
        after: body bytes before it happens; None: half of them.
        seconds: of ``stall`` and ``busy``.
    """

    kind: Kind
    after: int | None = None
    seconds: float = 0.0


@dataclass(slots=True)
class Faults:
    """Which requests go wrong, and how.

    Attributes:
        script: faults of the first GET requests in order, None for a good answer; used up before `rates` apply.
        rates: probability of each fault for every later GET request.
        rng: draws for `rates`; seeded, so that a test can be repeated.
        met: what has happened so far.
    """

    script: Sequence[Fault | None] = ()
    rates: Mapping[Fault, float] = field(default_factory=dict)
    rng: random.Random = field(default_factory=lambda: random.Random(0))
    met: list[Fault] = field(default_factory=list)
    _asked: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def draw(self) -> Fault | None:
        """The fault of the next GET request, or None."""
        with self._lock:
            fault = self._next()
            self._asked += 1
            if fault is not None:
                self.met.append(fault)
            return fault

    def _next(self) -> Fault | None:
        if self._asked < len(self.script):
            return self.script[self._asked]
        for fault, rate in self.rates.items():
            if self.rng.random() < rate:
                return fault
        return None


class FaultyServer(RangeServer):
    """A `RangeServer` whose answers to GET go wrong as `faults` say."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        faults: Faults | Sequence[Fault | None] = (),
        *,
        rate: float | None = None,
        latency: float = 0.0,
    ) -> None:
        """Serve `folder`; a plain sequence of faults is a script."""
        super().__init__(folder, rate=rate, latency=latency)
        self.faults = faults if isinstance(faults, Faults) else Faults(tuple(faults))

    def answer(self, method: str, key: str, headers: Mapping[str, str]) -> Answer:
        """See `RangeServer.answer`."""
        fault = self.faults.draw() if method == "GET" else None
        if fault is None:
            return super().answer(method, key, headers)
        if fault.kind == "busy":
            told = {"Retry-After": str(int(fault.seconds)), "Content-Length": "0"}
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, told)
        if fault.kind == "forbidden":
            return Answer(HTTPStatus.FORBIDDEN, {"Content-Length": "0"})
        if fault.kind == "broken":
            return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, {"Content-Length": "0"})
        asked = dict(headers)
        if fault.kind == "ignore-range":
            asked.pop("Range", None)
        return _spoiled(super().answer(method, key, asked), fault)

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """See `RangeServer.serve`; a body that breaks resets the connection, as a failing network does."""
        try:
            super().serve(handler)
        except ConnectionAbortedError:
            handler.wfile.flush()
            linger = struct.pack("ii", 1, 0)
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            handler.close_connection = True
            handler.connection.close()


def _spoiled(answer: Answer, fault: Fault) -> Answer:
    length = int(answer.headers.get("Content-Length", "0"))
    after = length // 2 if fault.after is None else fault.after
    headers = dict(answer.headers)
    if fault.kind == "etag":
        headers["ETag"] = f'"{random.getrandbits(64):016x}"'
    if fault.kind == "wrong-length":
        headers["Content-Length"] = str(length + 1)
        return replace(answer, headers=headers, body=_broken(answer.body, length))
    if fault.kind == "wrong-range" and "Content-Range" in headers:
        span, total = headers["Content-Range"].removeprefix("bytes ").split("/")
        first, last = (int(part) + 1 for part in span.split("-"))
        headers["Content-Range"] = f"bytes {first}-{last}/{total}"
    spoilt = {"reset": _broken, "flip": _flipped}.get(fault.kind)
    body = answer.body if spoilt is None else spoilt(answer.body, after)
    return replace(
        answer, headers=headers, body=_stalled(body, after, fault.seconds) if fault.kind == "stall" else body
    )


def _broken(body: Iterator[bytes], after: int) -> Iterator[bytes]:
    for chunk in body:
        if len(chunk) > after:
            break
        yield chunk
        after -= len(chunk)
    else:
        chunk = b""
    yield chunk[:after]
    raise ConnectionAbortedError


def _stalled(body: Iterator[bytes], after: int, seconds: float) -> Iterator[bytes]:
    yield from _chopped(body, after)
    time.sleep(seconds)
    yield from body


def _chopped(body: Iterator[bytes], after: int) -> Iterator[bytes]:
    while after > 0 and (chunk := next(body, b"")):
        yield chunk
        after -= len(chunk)


def _flipped(body: Iterator[bytes], after: int) -> Iterator[bytes]:
    for chunk in body:
        if 0 <= after < len(chunk):
            yield chunk[:after] + bytes([chunk[after] ^ 1]) + chunk[after + 1 :]
        else:
            yield chunk
        after -= len(chunk)


class S3Server:
    """An S3 service on 127.0.0.1 with given content (moto): ``with S3Server({"bucket": folder}) as server``.

    Attributes:
        buckets: name of each bucket and the folder whose files it holds.
        faults: what goes wrong with the next objects that phenostream puts: ``busy``, ``broken``, ``forbidden``,
            ``stall`` (before the object is stored), ``flip`` (a bit, on the way in), ``etag`` (another than the MD5).
        stored: path of each object that phenostream has put, ``/bucket/key``, failed ones included.
    """

    def __init__(self, buckets: Mapping[str, str | os.PathLike[str]], *, public: bool = True) -> None:
        """Prepare one bucket for each folder, open to unsigned requests where `public`.

        Raises MissingExtraError on entering where moto is not installed.
        """
        self.buckets = {name: Path(folder) for name, folder in buckets.items()}
        self.faults = Faults()
        self.stored: list[str] = []
        self._acl = "public-read" if public else "private"
        self._server: Any = None

    @property
    def endpoint(self) -> str:
        """URL of the service. RuntimeError before the start."""
        if self._server is None:
            raise RuntimeError("the server is not running: use it in a with statement")
        host, port = self._server.get_host_and_port()
        return f"http://{host}:{port}"

    @property
    def client(self) -> Any:
        """A boto3 client of the service, to put and change objects."""
        import boto3  # type: ignore[import-untyped]  # noqa: PLC0415

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",  # noqa: S106
        )

    def __enter__(self) -> Self:
        try:
            from moto.server import ThreadedMotoServer  # noqa: PLC0415
        except ImportError as error:
            raise MissingExtraError("moto is not installed", remedy='pip install "moto[s3,server]"') from error
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        service = self._server._server  # noqa: SLF001  (moto gives no other way in)
        service.app = _Unreliable(service.app, self)
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line a request helps nobody
        for name, folder in self.buckets.items():
            self.add(name, folder)
        return self

    def add(self, bucket: str, folder: str | os.PathLike[str]) -> None:
        """Make `bucket` of the files of `folder`, while the service runs."""
        self.buckets[bucket] = root = Path(folder)
        client = self.client
        client.create_bucket(Bucket=bucket, ACL=self._acl)
        for file in sorted(path for path in root.rglob("*") if path.is_file()):
            key = file.relative_to(root).as_posix()
            client.put_object(Bucket=bucket, Key=key, Body=file.read_bytes(), ACL=self._acl)
        client.close()

    def __exit__(self, *_: object) -> None:
        client = self.client
        for name in self.buckets:
            with suppress(Exception):
                _emptied(client, name)
        client.close()
        self._server.stop()
        self._server = None


class _Unreliable:
    """A WSGI application whose storing of objects goes wrong as a server's `faults` say."""

    def __init__(self, app: Any, server: S3Server) -> None:
        self._app, self._server = app, server

    def __call__(self, environ: dict[str, Any], start: Any) -> Any:
        ours = environ.get("HTTP_USER_AGENT", "").startswith("phenostream")
        if not ours or environ["REQUEST_METHOD"] != "PUT":
            return self._app(environ, start)
        self._server.stored.append(environ["PATH_INFO"])
        fault = self._server.faults.draw()
        if fault is None:
            return self._app(environ, start)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if fault.kind in _REFUSALS:
            start(_REFUSALS[fault.kind], [("Content-Length", "0")])
            return []
        if fault.kind == "stall":
            time.sleep(fault.seconds)
        if fault.kind == "flip":
            after = len(body) // 2 if fault.after is None else fault.after
            body = body[:after] + bytes([body[after] ^ 1]) + body[after + 1 :]
        told = _other_etag(start) if fault.kind == "etag" else start
        return self._app(environ | {"wsgi.input": io.BytesIO(body)}, told)


_REFUSALS = {"busy": "503 Slow Down", "broken": "500 Internal Server Error", "forbidden": "403 Forbidden"}


def _other_etag(start: Any) -> Any:
    """A WSGI `start_response` that tells an ETag which is no MD5, as a service that encrypts with a key does."""

    def told(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
        others = [(name, value) for name, value in headers if name.lower() != "etag"]
        return start(status, [*others, ("ETag", f'"{random.getrandbits(128):032x}"')], *more)

    return told


def _emptied(client: Any, bucket: str) -> None:
    # moto keeps its buckets for the life of the process: the next server would find them.
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for one in page.get("Contents", ()):
            client.delete_object(Bucket=bucket, Key=one["Key"])
    client.delete_bucket(Bucket=bucket)


class GcsServer(FaultyServer):
    """What Google Cloud Storage answers to readers (its XML API); each folder below `folder` is a bucket.

    It knows objects, ranges, ETags and listings page by page. With `private`, every request must bear a token signed by
    the service account that `account` writes.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        faults: Faults | Sequence[Fault | None] = (),
        *,
        private: bool = False,
        page: int = 1000,
    ) -> None:
        """Serve the folders below `folder` as buckets; a listing tells `page` names at a time."""
        super().__init__(folder, faults)
        self._guard = Guard() if private else None
        self._page = page

    def account(self, path: str | os.PathLike[str]) -> str:
        """Write a service account that may read to `path`, and return that path."""
        if self._guard is None:
            raise RuntimeError("a public server has no accounts: make it private")
        Path(path).write_text(self._guard.account())
        return os.fspath(path)

    def answer(self, method: str, key: str, headers: Mapping[str, str]) -> Answer:
        """See `FaultyServer.answer`; this service always says when an object was changed."""
        answer = super().answer(method, key, headers)
        if (path := self.folder / key).is_file():
            answer.headers["Last-Modified"] = formatdate(path.stat().st_mtime, usegmt=True)
        return answer

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """See `RangeServer.serve`; a listing is told here, as its query says."""
        asked = urlsplit(handler.path)
        if self._guard is not None and not self._guard.lets_in(handler.headers.get("Authorization", "")):
            _reply(handler, HTTPStatus.UNAUTHORIZED, b"")
        elif "list-type=2" not in asked.query:
            super().serve(handler)
        elif not (bucket := self.folder / unquote(asked.path).strip("/")).is_dir():
            _reply(handler, HTTPStatus.NOT_FOUND, b"")
        else:
            _reply(handler, HTTPStatus.OK, listing(bucket, asked.query, self._page))


def _reply(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    if handler.command == "GET":
        handler.wfile.write(body)


class FtpServer:
    """An FTP server on 127.0.0.1 (pyftpdlib): ``with FtpServer(folder) as server: open_store(server.url)``.

    Of the faults it knows ``reset`` (426 after `after` bytes), ``stall``, ``busy`` (421) and ``broken`` (425).

    Attributes:
        faults: what goes wrong with the next files asked for.
        commands: every command so far, passwords starred.
        bytes: bytes of files and listings sent so far.
        connections: logins opened so far.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        faults: Faults | Sequence[Fault | None] = (),
        *,
        user: str = "",
        password: str = "",
        certificate: str | os.PathLike[str] | None = None,
        without: Sequence[str] = (),
    ) -> None:
        """Serve `folder` to `user` (empty: to everyone).

        With a `certificate` (PEM, key included) it speaks TLS only. It does not know the commands in `without`.
        MissingExtraError on entering where pyftpdlib, or pyOpenSSL for TLS, is not installed.
        """
        self.faults = faults if isinstance(faults, Faults) else Faults(tuple(faults))
        self.user, self.password, self.certificate, self.without = user, password, certificate, frozenset(without)
        self.commands: list[str] = []
        self.bytes = self.connections = 0
        self._folder = os.path.realpath(folder)
        self._server: Any = None
        self._stopping = threading.Event()

    @property
    def address(self) -> str:
        """Host and port. RuntimeError before the start."""
        if self._server is None:
            raise RuntimeError("the server is not running: use it in a with statement")
        host, port = self._server.address[:2]
        return f"{host}:{port}"

    @property
    def url(self) -> str:
        """Base URL, without a slash at the end. RuntimeError before the start."""
        return f"{'ftps' if self.certificate else 'ftp'}://{self.address}"

    def __enter__(self) -> Self:
        try:
            from phenostream.testing import _ftp  # noqa: PLC0415

            self._server = _ftp.made(self, self._folder)
        except (ImportError, AttributeError) as error:
            raise MissingExtraError("pyftpdlib is not installed", remedy='pip install "pyftpdlib[ssl]"') from error
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._server = None

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._server.ioloop.loop(timeout=0.02, blocking=False)
        self._server.close_all()
        self._server.ioloop.close()
