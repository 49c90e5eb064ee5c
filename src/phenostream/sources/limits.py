"""Patience and politeness: how long to wait after a failure, and how much to ask of one host at a time."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from phenostream.errors import ThrottledError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from phenostream.errors import PhenostreamError
    from phenostream.sources.options import TransportOptions


def wait_after(error: PhenostreamError, failures: int, options: TransportOptions, rng: random.Random) -> float:
    """Seconds to wait after the `failures`-th failure in a row.

    Exponential back-off with full jitter (M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015);
    never less than what the server asked for.
    """
    ceiling = min(options.longest_wait, options.backoff * 2.0 ** min(failures - 1, 60))
    asked = error.retry_after if isinstance(error, ThrottledError) else 0.0
    return max(asked, rng.uniform(0.0, ceiling))


class Gate:
    """Bounds the transfers at one time and the bytes per second of one host."""

    def __init__(self, connections: int, rate: float | None) -> None:
        """Let `connections` transfers through at a time, `rate` bytes a second in all (None: no limit)."""
        self.turn = threading.BoundedSemaphore(connections)
        self._rate = rate
        self._free_at = 0.0
        self._lock = threading.Lock()

    def spend(self, count: int, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        """Account for `count` bytes, and sleep until they are within the rate."""
        if self._rate is None:
            return
        with self._lock:
            now = clock()
            self._free_at = max(now, self._free_at) + count / self._rate
            wait = self._free_at - now
        sleep(wait)


_gates: dict[tuple[str, int, float | None], Gate] = {}
_gates_lock = threading.Lock()


def gate_of(host: str, options: TransportOptions) -> Gate:
    """The gate that all stores of this process share for `host` under the same limits."""
    with _gates_lock:
        name = (host, options.connections, options.rate)
        return _gates.setdefault(name, Gate(options.connections, options.rate))


def _forget() -> None:
    # A forked child inherits gates with turns taken by threads that it does not have.
    global _gates_lock  # noqa: PLW0603
    _gates_lock = threading.Lock()
    _gates.clear()


os.register_at_fork(after_in_child=_forget)
