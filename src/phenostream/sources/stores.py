"""Stores: bytes by name that have arrived whole, or a named error."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from phenostream.errors import (
    ChangedError,
    NotFoundError,
    PhenostreamError,
    RecipeError,
    ThrottledError,
    UnsettledError,
)
from phenostream.sources.limits import Gate, gate_of, wait_after
from phenostream.sources.names import checked, folder, join, shown
from phenostream.sources.options import TransportOptions
from phenostream.sources.transport import Lister, Transport
from phenostream.sources.trips import MemorySink, Sink, Trip
from phenostream.values.plugs import Plugs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Blob", "LocalStore", "RemoteStore", "Traffic", "open_store", "scheme_of"]

_PLUGS = Plugs("phenostream.sources.transports", "phenostream.transports", "transport")
_ALIASES = {"": "local", "file": "local", "http": "https", "ftps": "ftp", "gs": "gcs", "fasp": "aspera"}
_SIZES = 65_536


@dataclass(frozen=True, slots=True)
class Blob:
    """A part of a blob, whole as far as it was asked for.

    Attributes:
        data: the bytes asked for, cut at the end of the blob.
        size: length of the whole blob.
        version: what the server calls this state of it (ETag, time of last change); empty where it does not say.
    """

    data: bytes
    size: int
    version: str


@dataclass(slots=True)
class Traffic:
    """What a store has moved since it was opened; safe to read and add to from several threads.

    Attributes:
        bytes: body bytes that came in, those that were thrown away included.
        requests: requests made, failed ones included.
        retries: requests made again after a failure.
    """

    bytes: int = 0
    requests: int = 0
    retries: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, *, bytes: int = 0, requests: int = 0, retries: int = 0) -> None:  # noqa: A002  (the unit's name)
        """Count."""
        with self._lock:
            self.bytes += bytes
            self.requests += requests
            self.retries += retries


def scheme_of(base: str) -> str:
    """Name of the transport that serves `base`: its URL scheme, ``local`` for paths, or what an alias stands for."""
    head = base.partition("://")[0] if "://" in base else ("file" if base.startswith("file:") else "")
    return _ALIASES.get(head.lower(), head.lower())


def open_store(
    base: str, *, options: TransportOptions | None = None, sleep: Callable[[float], None] = time.sleep
) -> LocalStore | RemoteStore:
    """The store of all below `base`: a folder, or a URL of a scheme that a transport serves.

    Those are ``file``, ``http``, ``https``, ``s3``, ``gs``, ``ftp``, ``ftps``, ``aspera`` and those of plug-ins.
    Nothing is asked of the network yet. `sleep` waits between tries; it may raise to end the read, which is how a
    run that is being stopped gets its threads back. Raises RecipeError for a scheme that no transport serves.
    """
    options = options or TransportOptions()
    if scheme_of(base) == "local":
        return LocalStore(base, options)
    _PLUGS.load(scheme_of(base))
    return RemoteStore(base, options, sleep=sleep)


class LocalStore:
    """The files below a folder. Links that leave it are refused; a file that shrinks while being read is an error."""

    def __init__(self, base: str | os.PathLike[str], options: TransportOptions | None = None) -> None:
        """Serve the folder `base` (a path or ``file://`` URL)."""
        self.base = os.fspath(base)
        self.options = options or TransportOptions()
        self.traffic = Traffic()
        self._transport = _transport(self.base, self.options)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.base, self.options)

    def __repr__(self) -> str:
        return f"LocalStore({self.base!r})"

    def arrive(self, key: str, start: int = 0, stop: int | None = None) -> Blob:
        """As `read`, with the size and version of the whole file."""
        sink = MemorySink(self.options.largest_read)
        trip = self.pull(key, sink, start, stop)
        return Blob(sink.bytes(), trip.size(), trip.version)

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """See `phenostream.values.Store`."""
        return self.arrive(key, start, stop).data

    def size(self, key: str) -> int:
        """See `phenostream.values.Store`."""
        return self.pull(key, MemorySink(0), 0, 0).size()

    def keys(self, prefix: str = "") -> Iterator[str]:
        """See `phenostream.values.Store`."""
        return _listed(self._transport, prefix, self.base)

    def pull(self, key: str, sink: Sink, start: int = 0, stop: int | None = None) -> Trip:
        """Bring bytes into `sink`, in one try."""
        _span(start, stop)
        trip = Trip(os.path.join(self.base, checked(key)), start, stop, sink)
        self.traffic.add(requests=1)
        with self._transport.fetch(key, start=start, stop=stop) as arrival:
            trip.begin(arrival, 0)
            for chunk in arrival.chunks:
                self.traffic.add(bytes=len(chunk))
                trip.take(chunk)
        trip.finish()
        return trip


class RemoteStore:
    """Blobs below a URL, read with patience.

    Transient faults are tried again with back-off; what has already arrived is kept and continued by range; a blob that
    changes meanwhile is begun anew; short bodies, false lengths and false ranges are noticed. Several threads may read.
    """

    def __init__(
        self,
        base: str,
        options: TransportOptions | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        rng: random.Random | None = None,
    ) -> None:
        """Serve what lies below `base`; `clock`, `sleep` and `rng` stay behind when it is pickled."""
        self.base = base
        self.options = options or TransportOptions()
        self.traffic = Traffic()
        self._clock, self._sleep = clock, sleep
        self._rng = rng or random.Random()
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()
        self._session: tuple[int, Transport, Gate] | None = None
        self._hashes: bool | None = None  # whether this server's ETags are MD5s; None until one was compared

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteStore, (self.base, self.options)

    def __repr__(self) -> str:
        return f"RemoteStore({shown(self.base)!r})"

    def arrive(self, key: str, start: int = 0, stop: int | None = None) -> Blob:
        """As `read`, with the size and version of the whole blob."""
        sink = MemorySink(self.options.largest_read)
        trip = self.pull(key, sink, start, stop)
        return Blob(sink.bytes(), self.size(key) if trip.total is None else trip.total, trip.version)

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """See `phenostream.values.Store`."""
        sink = MemorySink(self.options.largest_read)
        self.pull(key, sink, start, stop)
        return sink.bytes()

    def size(self, key: str) -> int:
        """See `phenostream.values.Store`; asked once, also known from earlier reads."""
        known = self._known(key)
        return self.pull(key, MemorySink(0), 0, 0).size() if known is None else known

    def keys(self, prefix: str = "") -> Iterator[str]:
        """See `phenostream.values.Store`. NotFoundError where the transport cannot list."""
        failures = 0
        while True:
            transport, gate = self._open()
            self.traffic.add(requests=1)
            try:
                with gate.turn:
                    return _listed(transport, prefix, shown(self.base))
            except PhenostreamError as error:
                failures += 1
                self._be_patient(error, failures)

    def pull(self, key: str, sink: Sink, start: int = 0, stop: int | None = None) -> Trip:
        """Bring bytes `start` to `stop` of `key` into `sink`, with all patience that the options allow."""
        _span(start, stop)
        trip = Trip(shown(join(self.base, checked(key))), start, stop, sink, total=self._known(key))
        failures = restarts = 0
        while True:
            before = trip.done
            try:
                self._try(key, trip)
            except UnsettledError as error:
                trip.restart()
                restarts += 1
                if restarts > self.options.restarts:
                    raise ChangedError(f"{trip.url} keeps changing while it is read", remedy=error.remedy) from error
            except PhenostreamError as error:
                failures = 1 if trip.done - before >= self.options.progress else failures + 1
                self._be_patient(error, failures)
            else:
                self._remember(key, trip)
                return trip
            self.traffic.add(retries=1)

    def _try(self, key: str, trip: Trip) -> None:
        transport, gate = self._open()
        self.traffic.add(requests=1)
        with gate.turn, transport.fetch(key, start=trip.here, stop=trip.stop, version=trip.version) as arrival:
            trip.begin(arrival, self.options.largest_skip)
            for chunk in arrival.chunks:
                self.traffic.add(bytes=len(chunk))
                gate.spend(len(chunk), self._clock, self._sleep)
                # Only what comes on top is cut off: an answer read to its end leaves its connection for the next one.
                if trip.complete:
                    break
                trip.take(chunk)
        trip.finish()
        self._prove(trip)

    def _prove(self, trip: Trip) -> None:
        # Where ETags were MD5s before, one file whose ETag is none must say so three times alike.
        if self._hashes is not False:
            match = trip.prove(3 if self._hashes else 2)
            self._hashes = match if self._hashes is None else self._hashes

    def _be_patient(self, error: PhenostreamError, failures: int) -> None:
        if not error.transient:
            raise error
        too_long = isinstance(error, ThrottledError) and error.retry_after > self.options.patience
        if failures >= self.options.tries or too_long:
            raise error.at(tries=failures)
        self._sleep(wait_after(error, failures, self.options, self._rng))

    def _known(self, key: str) -> int | None:
        with self._lock:
            return self._sizes.get(key)

    def _remember(self, key: str, trip: Trip) -> None:
        if trip.total is None:
            return
        with self._lock:
            self._sizes[key] = trip.total
            if len(self._sizes) > _SIZES:
                self._sizes.popitem(last=False)

    def _open(self) -> tuple[Transport, Gate]:
        # Connections do not survive a fork: each process opens its own.
        if self._session is None or self._session[0] != os.getpid():
            gate = gate_of(urlsplit(self.base).netloc or self.base, self.options)
            self._session = (os.getpid(), _transport(self.base, self.options), gate)
        return self._session[1], self._session[2]


def _transport(base: str, options: TransportOptions) -> Transport:
    made: Transport = _PLUGS.load(scheme_of(base)).Transport(base, options)
    return made


def _listed(transport: Transport, prefix: str, base: str) -> Iterator[str]:
    if not isinstance(transport, Lister):
        raise NotFoundError(f"{base} cannot be listed", remedy="use a catalog that knows the names, or s3://")
    return iter(sorted(transport.keys(folder(prefix))))


def _span(start: int, stop: int | None) -> None:
    if start < 0 or (stop is not None and stop < start):
        raise RecipeError(f"bytes {start} to {stop} are not a range", remedy="0 <= start <= stop")
