"""Fetching: one unit's bytes from the archive into its bundle in the spool, within its lease."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phenostream import disk, formats
from phenostream.errors import OverBudgetError, PhenostreamError, StepError
from phenostream.sources.capture import CapturingStore, MetadataCache
from phenostream.stream.budget import LeaseTooSmallError, on_disk
from phenostream.stream.folder import named_disk
from phenostream.stream.steps import window_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from threading import Event

    from phenostream import objects, values
    from phenostream.stream.budget import Lease

_CACHE_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Bundle:
    """The captured bytes of one unit, and the lease that covers them."""

    folder: Path
    lease: Lease
    digest: str
    seconds: float

    def discard(self) -> None:
        """Delete the bytes, then give the lease back."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.lease.close()


class Fetcher:
    """Fetches fields from one store; metadata that fields share is fetched once. Thread-safe."""

    def __init__(
        self, store: values.Store, spool: Path, *, segmenter: objects.Segmenter, window: bool, stop: Event
    ) -> None:
        """With `window`, the frames beside each plane come too; `segmenter` may read labels that lie in the archive."""
        self._store = store
        self._spool = spool
        self._window = window
        self._labels = getattr(segmenter, "segment_from", None)
        self._stop = stop
        self._cache = MetadataCache(_CACHE_BYTES)

    def forget(self) -> None:
        """Ask for shared metadata anew: what is remembered may have arrived damaged."""
        self._cache = MetadataCache(_CACHE_BYTES)

    def fetch(self, name: str, field: values.Field, lease: Lease) -> Bundle:
        """Everything that reading `field` needs, complete and hashed, in ``spool/<name>``.

        Raises:
            LeaseTooSmallError: the budget has no room for it now; nothing is left behind.
            PhenostreamError: with the place; nothing is left behind.
        """
        folder = self._spool / name
        start = time.perf_counter()
        try:
            with named_disk(folder):
                grant = self._grant(lease)
                grant(1)  # a folder takes a block, too
                folder.mkdir(parents=True)
                capture = CapturingStore(self._store, folder, grant=grant, cache=self._cache)
                for plane in field.planes:
                    formats.touch(capture, plane)
                    if self._window:
                        window_of(plane, capture)
                if self._labels:
                    self._labels(formats.attach(field, capture), capture)
                digest = capture.seal().digest
            lease.shrink()
            return Bundle(folder, lease, digest, time.perf_counter() - start)
        except BaseException as error:
            # A transfer that outlives its run must not touch the spool: it may be another run's by then.
            if not self._stop.is_set():
                shutil.rmtree(folder, ignore_errors=True)
            lease.close()
            self._raise(error, field)
            raise

    def _grant(self, lease: Lease) -> Callable[[int], None]:
        def grant(size: int) -> None:
            if self._stop.is_set():
                raise CancelledFetchError
            lease.spend(on_disk(size))

        return grant

    def _raise(self, error: BaseException, field: values.Field) -> None:
        place = {
            "step": "fetch", "plate": field.id.plate, "well": field.id.well,
            "site": field.id.site, "frame": field.id.time + 1,
        }  # fmt: skip
        if isinstance(error, PhenostreamError):
            raise error.at(**place) from error.__cause__
        if isinstance(error, LeaseTooSmallError | CancelledFetchError) or not isinstance(error, Exception):
            return
        if isinstance(error, MemoryError):
            raise OverBudgetError("out of memory").at(**place) from error
        if not disk.refused(error):
            raise StepError(f"{type(error).__name__}: {error}", remedy="please report it").at(**place) from error


class CancelledFetchError(Exception):
    """The run is stopping."""
