"""The disk budget: bytes are granted before they are written, and never more than there are."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from phenostream.errors import OverBudgetError

if TYPE_CHECKING:
    from collections.abc import Sequence

_BLOCK = 4096


def on_disk(size: int) -> int:
    """What a file of `size` bytes takes: whole blocks of 4 KiB, as most file systems count them."""
    return -(-size // _BLOCK) * _BLOCK


class Budget:
    """Bytes of disk that a run may use at once. Thread-safe.

    Attributes:
        total: the budget.
        peak: the most that was ever granted at once.
    """

    def __init__(self, total: int) -> None:
        """A budget of `total` bytes, all free."""
        self.total = total
        self.peak = 0
        self._used = 0
        self._lock = threading.Lock()

    @property
    def used(self) -> int:
        """Bytes granted now."""
        return self._used

    def others(self) -> Sequence[object]:
        """Who else holds bytes of it, or waits for some, in words; nobody, where it is not shared."""
        return ()

    def lease(self, size: int) -> Lease | None:
        """A lease of `size` bytes, or None where they are not free at the moment.

        Raises:
            OverBudgetError: `size` is more than the whole budget, so that waiting cannot help.
        """
        if size > self.total:
            raise OverBudgetError(
                f"needs {size:,} bytes of disk at once, the budget is {self.total:,}",
                remedy=f"raise stream.disk_budget to at least {size:,} bytes",
            )
        return Lease(self, size) if self._take(size) else None

    def _take(self, size: int) -> bool:
        with self._lock:
            if self._used + size > self.total:
                return False
            self._used += size
            self.peak = max(self.peak, self._used)
            return True

    def _give(self, size: int) -> None:
        with self._lock:
            self._used -= size


class Lease:
    """Granted bytes of one unit. `spend` is called before bytes are written, `close` after they are gone."""

    def __init__(self, budget: Budget, size: int) -> None:
        """Made by :meth:`Budget.lease`."""
        self.size = size
        self.spent = 0
        self._budget = budget
        self._lock = threading.Lock()
        self._closed = False

    def spend(self, size: int) -> None:
        """Account for `size` bytes about to be written, growing the lease where the budget has room.

        Raises:
            LeaseTooSmallError: no room now; the unit gives everything back and comes again with a larger lease.
        """
        with self._lock:
            wanted = self.spent + size
            if wanted > self.size:
                if not self._budget._take(wanted - self.size):  # noqa: SLF001  (a lease is part of its budget)
                    raise LeaseTooSmallError(wanted)
                self.size = wanted
            self.spent = wanted

    def shrink(self) -> None:
        """Give back what was leased and not spent."""
        with self._lock:
            self._budget._give(self.size - self.spent)  # noqa: SLF001
            self.size = self.spent

    def close(self) -> None:
        """Give everything back; further calls do nothing."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._budget._give(self.size)  # noqa: SLF001


class LeaseTooSmallError(Exception):
    """A unit needs more than it leased, and the budget has no room now; `wanted` bytes at least."""

    def __init__(self, wanted: int) -> None:
        """Keep how many bytes were wanted in all."""
        super().__init__(f"wants {wanted:,} bytes in all")
        self.wanted = wanted
