"""Batches of packed sites: any order, any share of it, from any place of an epoch, always the same."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from phenostream.datasets.loading import engine
from phenostream.datasets.loading.buffers import Buffers, fresh
from phenostream.datasets.loading.local import LocalReader
from phenostream.datasets.loading.orders import InOrder, Shuffled
from phenostream.datasets.loading.remote import Cache, RemoteReader
from phenostream.datasets.loading.settings import LoadSettings
from phenostream.datasets.loading.steps import Course, Share, State, Step
from phenostream.datasets.loading.units import Units, choose
from phenostream.errors import DamagedError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    import pyarrow.compute as pc
    from numpy.typing import ArrayLike, NDArray

    from phenostream.datasets.loading.buffers import Allocate
    from phenostream.datasets.loading.engine import Filling, Reader
    from phenostream.datasets.loading.orders import Order
    from phenostream.datasets.packs import Pack

_ALONE = Share()
_DEFAULTS = LoadSettings()
_MB = 1_000_000
_AHEAD = 16


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Sites of one step of one process.

    Attributes:
        pixels: (N, C, Y, X) in the type of the pack. Yours to change; its memory is used again when it and all views
            of it are gone.
        sites: (N,) their numbers in the pack.
        groups: (N,) which of the batch's units (wells, where sites stay together) each belongs to, from 0.
        keys: (N,) what random numbers of each site follow from; see `phenostream.datasets.loading.augmenting`.
        repeated: (N,) whether a site was there before in this epoch and only fills up the batch.
        state: after this batch.
        pack: where they come from.
    """

    pixels: NDArray[Any]
    sites: NDArray[np.int64]
    groups: NDArray[np.int64]
    keys: NDArray[np.uint64]
    repeated: NDArray[np.bool_]
    state: State
    pack: Pack = field(repr=False)

    def __len__(self) -> int:
        return len(self.sites)

    @property
    def table(self) -> pa.Table:
        """The rows of the index, one a site."""
        return self.pack.table.take(self.sites)


class Batches:
    """Batches of a pack, made ahead by threads; use `batches`.

    Going over it gives an epoch: the first time epoch 0, then 1, and so on; `epoch`, `resume` and `forever` leave
    that count alone. Every epoch follows from the seed and its number.

    Attributes:
        pack: of the sites.
        course: which sites come when.
        settings: of loading.
        faults: the sites left out so far under ``skip``, and the reason.
        skipped: how often each was.
    """

    def __init__(self, pack: Pack, course: Course, settings: LoadSettings) -> None:
        """Use `batches`."""
        self.pack = pack
        self.course = course
        self.settings = settings
        self.faults: dict[int, str] = {}
        self.skipped: Counter[int] = Counter()
        self._next_epoch = 0
        self._cache = Cache(settings.cache_mb * _MB)
        self._buffers: Buffers | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Memory and stored bytes stay behind.
        return self.__dict__ | {"_cache": None, "_buffers": None}

    def __setstate__(self, told: dict[str, Any]) -> None:
        self.__dict__ |= told
        self._cache = Cache(self.settings.cache_mb * _MB)

    def __len__(self) -> int:
        """Batches of an epoch, the same for every process."""
        return len(self.course)

    def __iter__(self) -> Iterator[Batch]:
        number = self._next_epoch
        self._next_epoch += 1
        return self.epoch(number)

    def epoch(self, number: int) -> Iterator[Batch]:
        """All batches of an epoch.

        Raises:
            DamagedError, NotFoundError: a site is not what was packed or not there, unless they are skipped.
            PhenostreamError: what transports raise.
        """
        return self.resume(self.course.start(number))

    def resume(self, state: State) -> Iterator[Batch]:
        """What is left of the epoch of `state`, exactly as if it had not been interrupted.

        Where the order does not depend on the batch size (all but `Groups`), batch size, number of processes and of
        threads may differ from those that the state was saved with: what is left is the same. Raises as `epoch`, and
        RecipeError for a state of something else.
        """
        return self._loaded(self.course.steps(self.course.checked(state)))

    def forever(self, state: State | None = None) -> Iterator[Batch]:
        """One stream over all epochs, from `state` on or from the beginning; reading ahead does not pause between."""
        return self._loaded(self.course.forever(self.course.checked(state) if state else self.course.start(0)))

    def read(self, step: Step) -> Batch:
        """The batch of one of the course's steps, by this thread alone: what a worker process does."""
        filling = engine.Filling(step, self._memory(fresh).array((len(step.sites), *self.pack.shape), self.pack.dtype))
        reader = self._reader()
        try:
            for _ in reader.ahead(iter((step,))):
                for place in range(len(step.sites)):
                    engine.fill(self.pack, reader, filling, place)
        finally:
            reader.close()
        return self._batch(filling)

    def use_memory(self, allocate: Allocate) -> None:
        """Have the memory of batches made by `allocate`, such as pinned memory. Before the first batch."""
        self._buffers = None
        self._memory(allocate)

    def _loaded(self, steps: Iterator[Step]) -> Iterator[Batch]:
        memory = self._memory(fresh)
        threads = self.settings.threads or engine.usual_threads()
        # Enough for every thread; more would only put off the first batch where batches are small.
        ahead = min(max(1, self.settings.prefetch_mb * _MB // memory.size), max(_AHEAD, 4 * threads))
        for filling in engine.filled(self.pack, steps, self._reader(), memory, threads=threads, ahead=ahead):
            batch = self._batch(filling)
            del filling
            yield batch
            del batch

    def _reader(self) -> Reader:
        if self.pack.folder is not None:
            return LocalReader(self.pack, self.pack.folder)
        return RemoteReader(self.pack, self.settings, self._cache)

    def _memory(self, allocate: Allocate) -> Buffers:
        if self._buffers is None:
            size = self.course.batch_size * self.course.units.largest * self.pack.coding.nbytes
            keep = 2 + self.settings.prefetch_mb * _MB // size
            self._buffers = Buffers(size, keep=keep, allocate=allocate)
        return self._buffers

    def _batch(self, filling: Filling) -> Batch:
        step, pixels = filling.step, filling.pixels
        if not filling.errors:
            return Batch(pixels, step.sites, step.groups, step.keys, step.repeated, step.state, self.pack)
        for place in sorted(filling.errors):
            self._note(int(step.sites[place]), filling.errors[place])
        kept = np.array([place for place in range(len(step.sites)) if place not in filling.errors], np.int64)
        for at, place in enumerate(kept):
            pixels[at] = pixels[place]
        return Batch(
            pixels[: len(kept)], step.sites[kept], step.groups[kept], step.keys[kept], step.repeated[kept], step.state,
            self.pack,
        )  # fmt: skip

    def _note(self, site: int, error: Exception) -> None:
        if self.settings.faults == "fail" or not isinstance(error, (DamagedError, NotFoundError)):
            raise error
        self.faults[site] = str(error)
        self.skipped[site] += 1


def batches(
    pack: Pack,
    *,
    batch_size: int,
    shuffle: bool | Order = True,
    seed: int = 0,
    sites: ArrayLike | pc.Expression | None = None,
    share: Share = _ALONE,
    settings: LoadSettings = _DEFAULTS,
) -> Batches:
    """Batches of packed sites, local or remote.

    Decoded pixels take ``prefetch_mb`` and two batches (more where more are kept), remote packs ``ahead_mb`` and
    ``cache_mb``; beside the index itself only the order grows with the pack, 16 bytes a site.

    Args:
        pack: what `open_pack` gives.
        batch_size: sites of a process in a batch; where sites stay together, units of them.
        shuffle: True: a full shuffle, another each epoch; False: in the order of `sites`; or `Windows`, `Balanced`,
            `Groups`, or an order of your own.
        seed: of order and of the keys for augmentation.
        sites: which ones: numbers, a mask, or a filter of the index such as ``pc.field("dataset") == "train"``.
        share: rank and number of the processes that go over it together. Each site comes once over all of them, and
            all have the same number of batches: what does not fill the last is spread evenly (see ``last``).
        settings: the end of an epoch, damaged sites, threads and memory.

    Raises:
        EmptyError: no site is chosen, or none has a value of the order's column.
        OutOfRangeError: a chosen site is none.
        RecipeError: a column or filter that the index does not know, or sizes that do not fit.
    """
    order: Order = shuffle if not isinstance(shuffle, bool) else Shuffled() if shuffle else InOrder()
    units = Units(pack, choose(pack, sites), settings.together)
    last = settings.last or ("drop" if order.whole else "spread")
    return Batches(pack, Course(units, order, batch_size, seed, share, last), settings)
