"""Memory of batches, used again once nobody looks at it: fresh pages cost as much time as half of the decoding."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Allocate = Callable[[int], NDArray[np.uint8]]


def fresh(size: int) -> NDArray[np.uint8]:
    """`size` bytes of ordinary memory."""
    return np.empty(size, np.uint8)


class Buffers:
    """Hands out arrays of one size of memory, and takes the memory back when the last view of an array is gone.

    Several threads may ask.
    """

    def __init__(self, size: int, *, keep: int, allocate: Allocate = fresh) -> None:
        """Of `size` bytes each; at most `keep` wait to be used again."""
        self.size = size
        self._keep = keep
        self._allocate = allocate
        self._free: list[NDArray[np.uint8]] = []
        self._lock = threading.RLock()  # a collection may run a finalizer in a thread that holds it

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """An array of whatever was in the memory before."""
        with self._lock:
            memory = self._free.pop() if self._free else self._allocate(self.size)
        count = int(np.prod(shape))
        # Views of views hold on to the outermost array whose base is no array: this one, not `memory`.
        lent = np.frombuffer(memory.data, dtype, count)
        weakref.finalize(lent, self._back, memory).atexit = False
        return lent.reshape(shape)

    def _back(self, memory: NDArray[np.uint8]) -> None:
        with self._lock:
            if len(self._free) < self._keep:
                self._free.append(memory)
