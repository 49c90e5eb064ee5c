"""Captures: the bytes that one reading needs, on disk and hashed, so that it can be repeated without the source."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phenostream.errors import DamagedError, HostileError, NotCapturedError, NotFoundError, StepError, UnsettledError
from phenostream.sources.download import full_disk_named, temporary
from phenostream.sources.extents import Extent, missing, pieces
from phenostream.sources.names import checked, folder
from phenostream.sources.stores import Blob

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from phenostream.values import Store

__all__ = ["Captured", "CapturedStore", "CapturingStore", "MetadataCache"]

INDEX = "index.json"
_LAYOUT = 1
_SMALL = 64 << 10
_JOIN = 16 << 10


@dataclass(slots=True)
class _Entry:
    """What is known of one key: size, version, and the extents held."""

    size: int | None = None
    version: str = ""
    extents: list[Extent] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Captured:
    """A finished capture.

    Attributes:
        folder: where it lies.
        digest: SHA-256 over keys, sizes, ranges and their hashes: the same content gives the same digest.
        bytes: of all captured ranges and the index.
        keys: number of blobs that it holds a part of.
    """

    folder: Path
    digest: str
    bytes: int
    keys: int


class MetadataCache:
    """Small answers of one store, shared by many captures: a plate's metadata is fetched once and not per frame.

    Holds blobs and ranges of 64 KiB at most, and the names that were found absent; the least used leave first.
    """

    def __init__(self, max_bytes: int = 64 << 20) -> None:
        """Hold `max_bytes` in all, each entry counted with a kilobyte on top for itself."""
        self._max = max_bytes
        self._held = 0
        self._entries: OrderedDict[tuple[str, int, int | None], Blob | None] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str, start: int, stop: int | None) -> Blob | None:
        """What was put for this range, or None. Raises NotFoundError where the key was put as absent."""
        with self._lock:
            place = (key, start, stop)
            if place not in self._entries:
                return None
            self._entries.move_to_end(place)
            found = self._entries[place]
        if found is None:
            raise NotFoundError(f"{key} does not exist", remedy="it was absent when it was first asked for")
        return found

    def put(self, key: str, start: int, stop: int | None, blob: Blob | None) -> None:
        """Remember `blob` (None: the key is absent), unless it is large."""
        if blob is not None and len(blob.data) > _SMALL:
            return
        with self._lock:
            place = (key, start, stop)
            if place not in self._entries:
                self._held += _weight(blob)
            self._entries[place] = blob
            while self._held > self._max:
                self._held -= _weight(self._entries.popitem(last=False)[1])


class CapturingStore:
    """A store that keeps every byte read through it in a folder.

    A range is granted, then written and hashed, once; a second reading of it is answered from the folder. Several
    threads may read. It is a workbench of one process and cannot be pickled; what `seal` leaves behind can.
    """

    def __init__(
        self,
        inner: Store,
        folder: str | os.PathLike[str],
        *,
        grant: Callable[[int], None] = lambda _: None,
        cache: MetadataCache | None = None,
    ) -> None:
        """Read through `inner` into `folder`; `grant` is told of bytes before they are written and may refuse them."""
        self._inner = inner
        self.folder = Path(folder)
        self._grant = grant
        self._cache = cache
        self._entries: defaultdict[str, _Entry] = defaultdict(_Entry)
        self._absent: set[str] = set()
        self._listings: dict[str, list[str]] = {}
        self._files = self._bytes = 0
        self._sealed = False
        self._lock = threading.Lock()
        self._busy: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        with full_disk_named(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """See `phenostream.values.Store`. Raises OverBudgetError where `grant` refuses."""
        with self._turn(checked(key)):
            entry = self._entries[key]
            end = stop if entry.size is None else min(entry.size, entry.size if stop is None else stop)
            if entry.size is not None and end is not None:
                return self._assembled(key, start, max(start, end))
            return self._keep(key, start, self._fetch(key, start, stop))

    def size(self, key: str) -> int:
        """See `phenostream.values.Store`."""
        with self._turn(checked(key)):
            entry = self._entries[key]
            if entry.size is None:
                self._keep(key, 0, self._fetch(key, 0, 0))
            if entry.size is None:
                raise DamagedError(f"{key} has no known size")
            return entry.size

    def keys(self, prefix: str = "") -> Iterator[str]:
        """See `phenostream.values.Store`; the listing is remembered."""
        name = folder(prefix)
        with self._turn("/"):  # no key is called so
            if name not in self._listings:
                self._listings[name] = list(self._inner.keys(prefix))
            return iter(self._listings[name])

    def seal(self) -> Captured:
        """Write the index and end the capture: what has not been read by now will be refused."""
        with self._lock:
            self._sealed = True
            index = _index(self._entries, self._absent, self._listings)
            data = json.dumps(index, sort_keys=True, separators=(",", ":")).encode()
            self._grant(len(data))
            with temporary(self.folder / INDEX, sync=False) as file:
                file.write(data)
            held = sum(bool(entry.extents) for entry in self._entries.values())
            return Captured(self.folder, _digest(index), self._bytes + len(data), held)

    def _turn(self, key: str) -> threading.Lock:
        with self._lock:
            if self._sealed:
                raise StepError(f"the capture is sealed, {key} comes too late", remedy="read before sealing")
            return self._busy[key]

    def _assembled(self, key: str, start: int, end: int) -> bytes:
        extents = self._entries[key].extents
        for gap in missing(extents, start, end, join=_JOIN):
            fresh = self._keep(key, gap[0], self._fetch(key, *gap))
            if gap == (start, end):
                return fresh
        return b"".join(_slice(self.folder, *piece) for piece in _covering(extents, key, start, end))

    def _fetch(self, key: str, start: int, stop: int | None) -> Blob:
        try:
            found = self._cache.get(key, start, stop) if self._cache else None
            blob = found or _arrive(self._inner, key, start, stop)
        except NotFoundError:
            with self._lock:
                self._absent.add(key)
                self._entries.pop(key, None)
            if self._cache:
                self._cache.put(key, start, stop, None)
            raise
        if self._cache and found is None:
            self._cache.put(key, start, stop, blob)
        return blob

    def _keep(self, key: str, start: int, blob: Blob) -> bytes:
        entry = self._entries[key]
        self._same(key, entry, blob)
        entry.size, entry.version = blob.size, blob.version
        if blob.data:
            self._grant(len(blob.data))
            with self._lock:
                self._files += 1
                name = f"{self._files:06d}"
            with temporary(self.folder / name, sync=False) as file:
                file.write(blob.data)
            with self._lock:
                self._bytes += len(blob.data)
            digest = hashlib.sha256(blob.data).hexdigest()
            entry.extents.append(Extent(start, start + len(blob.data), name, digest))
        return blob.data

    @staticmethod
    def _same(key: str, entry: _Entry, blob: Blob) -> None:
        other_size = entry.size is not None and entry.size != blob.size
        other_version = entry.version and blob.version and entry.version != blob.version
        if other_size or other_version:
            raise UnsettledError(f"{key} changed between two reads of one capture", remedy="capture it again")


class CapturedStore:
    """What a capture holds, as a store: nothing else, and nothing unverified.

    Every stored range is compared with its hash before its first use in this process. A key that was absent at the
    time of capture is NotFoundError again; one that was never asked for is NotCapturedError (a NotFoundError too).
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Open the capture in `folder`. Raises NotFoundError without an index, DamagedError with a broken one."""
        self.folder = Path(folder)
        index = _load(self.folder / INDEX)
        self._entries = {key: _entry(key, told) for key, told in index["keys"].items()}
        self._absent = frozenset(index["absent"])
        self._listings: dict[str, list[str]] = index["listings"]
        self._verified: set[str] = set()
        self.digest = _digest(index)

    def __reduce__(self) -> tuple[Any, ...]:
        return CapturedStore, (self.folder,)

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """See `phenostream.values.Store`. Raises NotCapturedError, or DamagedError where a hash does not match."""
        entry = self._entry(key)
        size = entry.size or 0
        end = max(start, size if stop is None else min(stop, size))
        parts = _covering(entry.extents, key, start, end)
        return b"".join(self._verified_slice(*part) for part in parts)

    def size(self, key: str) -> int:
        """See `phenostream.values.Store`."""
        return self._entry(key).size or 0

    def keys(self, prefix: str = "") -> Iterator[str]:
        """See `phenostream.values.Store`: what was listed under this prefix at the time. Raises NotCapturedError."""
        try:
            return iter(self._listings[folder(prefix)])
        except KeyError:
            raise NotCapturedError(f"{prefix or 'the root'} was not listed when this was captured") from None

    def _entry(self, key: str) -> _Entry:
        if checked(key) in self._entries:
            return self._entries[key]
        if key in self._absent:
            raise NotFoundError(f"{key} did not exist when this was captured", remedy="check the source")
        raise _not_captured(key, "")

    def _verified_slice(self, extent: Extent, start: int, stop: int) -> bytes:
        if extent.file in self._verified:
            return _slice(self.folder, extent, start, stop)
        data = _slice(self.folder, extent, extent.start, extent.stop)
        if hashlib.sha256(data).hexdigest() != extent.sha256:
            raise DamagedError(f"{self.folder / extent.file} is not what was captured", remedy="capture it again")
        self._verified.add(extent.file)
        return data[start - extent.start : stop - extent.start]


def _arrive(store: Store, key: str, start: int, stop: int | None) -> Blob:
    arrive: Callable[[str, int, int | None], Blob] | None = getattr(store, "arrive", None)
    if arrive is not None:
        return arrive(key, start, stop)
    return Blob(store.read(key, start, stop), store.size(key), "")


def _weight(blob: Blob | None) -> int:
    return 1024 + (len(blob.data) if blob else 0)


def _covering(extents: list[Extent], key: str, start: int, end: int) -> list[tuple[Extent, int, int]]:
    found = pieces(extents, start, end)
    if found is None:
        raise _not_captured(key, f"bytes {start} to {end} of ")
    return found


def _not_captured(key: str, which: str) -> NotCapturedError:
    return NotCapturedError(
        f"{which}{key} not captured", remedy="the reader asks for more than it did at capture time: capture again"
    )


def _slice(folder: Path, extent: Extent, start: int, stop: int) -> bytes:
    path = folder / extent.file
    try:
        with path.open("rb") as file:
            file.seek(start - extent.start)
            data = file.read(stop - start)
    except FileNotFoundError:
        data = b""
    if len(data) != stop - start:
        raise DamagedError(f"{path} is cut short or gone", remedy="capture it again")
    return data


def _index(entries: dict[str, _Entry], absent: set[str], listings: dict[str, list[str]]) -> dict[str, Any]:
    keys = {
        key: {
            "size": entry.size,
            "version": entry.version,
            "extents": [[one.start, one.stop, one.file, one.sha256] for one in sorted(entry.extents)],
        }
        for key, entry in entries.items()
        if entry.size is not None
    }
    return {"layout": _LAYOUT, "keys": keys, "absent": sorted(absent - keys.keys()), "listings": listings}


def _digest(index: dict[str, Any]) -> str:
    """Over content only: names of files and versions depend on the order of threads and on the server."""
    keys = {
        key: [told["size"], sorted([start, stop, sha256] for start, stop, _, sha256 in told["extents"])]
        for key, told in index["keys"].items()
    }
    content = [keys, index["absent"], index["listings"]]
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _load(path: Path) -> dict[str, Any]:
    try:
        index: dict[str, Any] = json.loads(path.read_bytes())
        if index["layout"] != _LAYOUT or not {"keys", "absent", "listings"} <= index.keys():
            raise DamagedError(f"{path} is the index of another layout", remedy="capture it again")
    except FileNotFoundError:
        raise NotFoundError(f"{path.parent} holds no sealed capture", remedy="capture it again") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{path} is not an index of a capture", remedy="capture it again") from error
    return index


def _entry(key: str, told: dict[str, Any]) -> _Entry:
    try:
        extents = [Extent(int(a), int(b), str(file), str(sha256)) for a, b, file, sha256 in told["extents"]]
        entry = _Entry(int(told["size"]), str(told["version"]), extents)
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"the index entry of {key} is broken", remedy="capture it again") from error
    if not all(one.file.isdecimal() for one in extents):
        raise HostileError(f"the index entry of {key} names a file outside the capture")
    return entry
