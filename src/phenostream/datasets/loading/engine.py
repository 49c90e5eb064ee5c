"""Threads that read, check and decode sites into arrays of whole batches, a bounded number of bytes ahead, in order."""

from __future__ import annotations

import os
import threading
from collections import deque
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from phenostream.errors import DamagedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from phenostream.datasets.loading.buffers import Buffers
    from phenostream.datasets.loading.steps import Step
    from phenostream.datasets.packs import Pack

_MOST_THREADS = 16


class Reader(Protocol):
    """Where stored sites come from."""

    def ahead(self, steps: Iterator[Step]) -> Iterator[Step]:
        """The same steps, with what they need on its way."""
        ...

    def blob(self, site: int) -> bytes:
        """The stored bytes of a site."""
        ...

    def close(self) -> None:
        """End what is under way."""
        ...


@dataclass(slots=True, eq=False)
class Filling:
    """A batch on its way: its step, its pixels, and what went wrong, by place in the batch."""

    step: Step
    pixels: NDArray[Any]
    errors: dict[int, Exception] = field(default_factory=dict)
    _left: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _whole: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._left = len(self.step.sites)
        if not self._left:
            self._whole.set()

    def place_done(self) -> None:
        """One place is filled, or has failed."""
        with self._lock:
            self._left -= 1
            if not self._left:
                self._whole.set()

    def wait(self) -> None:
        """Until all places are done."""
        self._whole.wait()


class _Job(NamedTuple):
    filling: Filling
    place: int


def usual_threads() -> int:
    """Two more than the cores that this process may use, since some wait for the disk; 16 at most."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores + 2, _MOST_THREADS)


def filled(
    pack: Pack, steps: Iterator[Step], reader: Reader, buffers: Buffers, *, threads: int, ahead: int
) -> Iterator[Filling]:
    """The batches of `steps`, in their order.

    Args:
        pack: of the sites.
        steps: what to read.
        reader: where from; closed at the end.
        buffers: memory of batches.
        threads: that read and decode.
        ahead: batches in the making at most, beside the one that was handed out last.
    """
    jobs: SimpleQueue[_Job | None] = SimpleQueue()
    stop = threading.Event()
    crew = [
        threading.Thread(target=_work, args=(pack, reader, jobs, stop), name=f"phenostream-load-{number}", daemon=True)
        for number in range(threads)
    ]
    for thread in crew:
        thread.start()
    try:
        yield from _in_order(pack, reader.ahead(steps), jobs, buffers, ahead)
    finally:
        stop.set()
        reader.close()
        for _ in crew:
            jobs.put(None)
        for thread in crew:
            thread.join()


def _in_order(
    pack: Pack, steps: Iterator[Step], jobs: SimpleQueue[_Job | None], buffers: Buffers, ahead: int
) -> Iterator[Filling]:
    waiting: deque[Filling] = deque()

    def begin() -> None:
        while len(waiting) < ahead and (step := next(steps, None)) is not None:
            filling = Filling(step, buffers.array((len(step.sites), *pack.shape), pack.dtype))
            waiting.append(filling)
            for place in np.lexsort((pack.offsets[step.sites], pack.shard_numbers[step.sites])).tolist():
                jobs.put(_Job(filling, place))

    begin()
    while waiting:
        filling = waiting.popleft()
        filling.wait()
        # Before the caller gets this one: the threads shall not stand idle while it is used.
        begin()
        yield filling
        del filling


def _work(pack: Pack, reader: Reader, jobs: SimpleQueue[_Job | None], stop: threading.Event) -> None:
    while (job := jobs.get()) is not None:
        if not stop.is_set():
            fill(pack, reader, job.filling, job.place)
        del job


def fill(pack: Pack, reader: Reader, filling: Filling, place: int) -> None:
    """Read one site of a batch into its place; an error is kept, to be told when the batch comes."""
    site = int(filling.step.sites[place])
    try:
        blob = reader.blob(site)
        pack.check(site, blob)
        _decode(pack, site, blob, filling.pixels[place])
    except Exception as error:  # noqa: BLE001  (told in the thread that asked)
        filling.errors[place] = error
    finally:
        filling.place_done()


def _decode(pack: Pack, site: int, blob: bytes, out: NDArray[Any]) -> None:
    try:
        pack.decode(blob, out)
    except DamagedError as error:
        name, shard = pack.table["site_id"][site].as_py(), pack.shards[pack.shard_numbers[site]]
        raise DamagedError(
            f"site {name} in shard {shard} of {pack.base}: {error.message}", remedy=error.remedy
        ) from error
