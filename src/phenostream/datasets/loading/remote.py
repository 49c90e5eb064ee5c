"""Stored sites of a pack behind a URL: fetched ahead in few requests, each byte once, in bounded memory.

The sites that the next steps need are looked through in windows of a third of ``ahead_mb``; what lies next to each
other in a window shares a request. While one window is used up the next is on its way, so that at most three are in
memory, beside them ``cache_mb`` of sites that were used and may come again, and the answers that just arrive. A window
is a step at least: steps of more than a third of ``ahead_mb`` make it three steps.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from phenostream.datasets.loading.settings import LoadSettings
    from phenostream.datasets.loading.steps import Step
    from phenostream.datasets.packs import Pack

_MB, _KB = 1_000_000, 1_000


@dataclass(frozen=True, slots=True)
class Extent:
    """Bytes `start` to `stop` of a shard, and the sites in them."""

    shard: str
    start: int
    stop: int
    sites: tuple[int, ...]


class Cache:
    """Stored sites that were used, the last ones that fit into so many bytes. Several threads may use it.

    Attributes:
        bytes: that are kept now.
    """

    def __init__(self, most: int) -> None:
        """Keep `most` bytes."""
        self.bytes = 0
        self._most = most
        self._blobs: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, site: int, blob: bytes) -> None:
        """Keep a site, and forget the oldest ones where there is no room."""
        with self._lock:
            self.bytes += len(blob) - len(self._blobs.pop(site, b""))
            self._blobs[site] = blob
            while self.bytes > self._most:
                self.bytes -= len(self._blobs.popitem(last=False)[1])

    def take(self, site: int) -> bytes | None:
        """A site, which is then no longer kept; None where it is not."""
        with self._lock:
            blob = self._blobs.pop(site, None)
            self.bytes -= len(blob or b"")
            return blob


class RemoteReader:
    """Reads stored sites; several threads may ask for those of announced steps, once for each announcement.

    A site that was not announced is fetched on its own.
    """

    def __init__(self, pack: Pack, settings: LoadSettings, cache: Cache) -> None:
        """Of `pack`, within the limits of `settings`; `cache` may outlive it."""
        self._pack = pack
        self._settings = settings
        self._cache = cache
        self._fetchers = ThreadPoolExecutor(settings.connections, thread_name_prefix="phenostream-fetch")
        self._lock = threading.Lock()
        self._due: Counter[int] = Counter()
        self._coming: dict[int, Future[dict[int, bytes]]] = {}

    def ahead(self, steps: Iterator[Step]) -> Iterator[Step]:
        """The same steps, with the requests for the next ones under way."""
        current: Sequence[Step] = ()
        for following in self._windows(steps):
            self._announce(following)
            yield from current
            current = following
        yield from current

    def blob(self, site: int) -> bytes:
        """The stored bytes of a site. Raises as `phenostream.sources.RemoteStore.read`."""
        with self._lock:
            coming = self._coming.get(site)
        if coming is None:
            span = self._pack.span(site)
            return self._pack.store.read(span.shard, span.offset, span.offset + span.length)
        try:
            arrived = coming.result()
        except BaseException:
            self._used(site)
            raise
        # Taken before it is counted as used: the last who counts takes it out.
        blob = arrived[site]
        if self._used(site):
            self._cache.put(site, arrived.pop(site))
        return blob

    def close(self) -> None:
        """Forget everything; requests under way end first."""
        self._fetchers.shutdown(cancel_futures=True)

    def _windows(self, steps: Iterator[Step]) -> Iterator[list[Step]]:
        """Steps, as many at a time as a third of ``ahead_mb`` holds; one at least."""
        window: list[Step] = []
        size, most = 0, self._settings.ahead_mb * _MB // 3
        for step in steps:
            more = int(self._pack.lengths[step.sites].sum())
            if window and size + more > most:
                yield window
                window, size = [], 0
            window.append(step)
            size += more
        if window:
            yield window

    def _announce(self, window: Iterable[Step]) -> None:
        """Ask for the sites of a window that are not here and not on their way, those needed first first."""
        wanted = np.concatenate([step.sites for step in window])
        with self._lock:
            self._due.update(wanted.tolist())
            missing = np.array([site for site in dict.fromkeys(wanted.tolist()) if not self._is_here(site)], np.int64)
            first = {int(site): at for at, site in enumerate(missing)}
            found = extents(self._pack, missing, gap=self._settings.gap_kb * _KB, most=self._settings.request_mb * _MB)
            for extent in sorted(found, key=lambda one: min(first[site] for site in one.sites)):
                future = self._fetchers.submit(self._fetch, extent)
                self._coming.update(dict.fromkeys(extent.sites, future))

    def _fetch(self, extent: Extent) -> dict[int, bytes]:
        data = memoryview(self._pack.store.read(extent.shard, extent.start, extent.stop))
        starts = (self._pack.offsets[list(extent.sites)] - extent.start).tolist()
        lengths = self._pack.lengths[list(extent.sites)].tolist()
        # Copies, since a slice would keep all of the answer in memory.
        return {
            site: bytes(data[start : start + length])
            for site, start, length in zip(extent.sites, starts, lengths, strict=True)
        }

    def _is_here(self, site: int) -> bool:
        """Whether a site is here or on its way; one that the cache has is taken out of it."""
        if site not in self._coming and (blob := self._cache.take(site)) is not None:
            here: Future[dict[int, bytes]] = Future()
            here.set_result({site: blob})
            self._coming[site] = here
        return site in self._coming

    def _used(self, site: int) -> bool:
        """Note that a site was asked for; whether it is not due again."""
        with self._lock:
            self._due[site] -= 1
            if self._due[site]:
                return False
            del self._due[site], self._coming[site]
            return True


def extents(pack: Pack, sites: np.typing.NDArray[np.int64], *, gap: int, most: int) -> list[Extent]:
    """What to ask for to have `sites`, each once.

    Args:
        pack: where they lie.
        sites: their numbers.
        gap: bytes that may lie between two sites of one extent.
        most: bytes of an extent, unless one site has more.
    """
    order = sites[np.lexsort((pack.offsets[sites], pack.shard_numbers[sites]))]
    found: list[Extent] = []
    for site, shard, start, length in zip(
        order.tolist(), pack.shard_numbers[order].tolist(), pack.offsets[order].tolist(), pack.lengths[order].tolist(),
        strict=True,
    ):  # fmt: skip
        name, last = pack.shards[shard], found[-1] if found else None
        stop = start + length
        if last and last.shard == name and start - last.stop <= gap and stop - last.start <= most:
            found[-1] = Extent(name, last.start, max(stop, last.stop), (*last.sites, site))
        else:
            found.append(Extent(name, start, stop, (site,)))
    return found
