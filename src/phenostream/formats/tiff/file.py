"""A file object on a store, for a library that seeks and reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phenostream.values.seeking import Seeking

if TYPE_CHECKING:
    from phenostream.values import Store

BLOCK = 4096
HEAD = 8 * BLOCK
# A file up to this size comes whole: its pages are about all there is.
WHOLE = 2**17


class StoreFile(Seeking):
    """A file on a store: small reads in aligned blocks, large ones as they are; small files come whole."""

    def __init__(self, store: Store, key: str) -> None:
        super().__init__()
        self._store, self._key = store, key
        head = store.read(key, 0, HEAD)
        self.size = store.size(key)
        if len(head) < self.size <= WHOLE:
            head += store.read(key, len(head), self.size)
        self._blocks = {at // BLOCK: head[at : at + BLOCK] for at in range(0, len(head), BLOCK)}

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` as far as the file goes; returns how far."""
        view = memoryview(buffer).cast("B")
        data = self.span(self._at, min(self.size, self._at + len(view)))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def span(self, start: int, stop: int) -> bytes:
        """Bytes `start` to `stop`, from the blocks that are here where they are."""
        numbers = range(start // BLOCK, -(-stop // BLOCK))
        missing = [number for number in numbers if number not in self._blocks]
        if missing and stop - start > BLOCK:
            return self._store.read(self._key, start, stop)
        for number in missing:
            last = min((number + 1) * BLOCK, self.size)
            self._blocks[number] = self._store.read(self._key, number * BLOCK, last)
        joined = b"".join(self._blocks[number] for number in numbers)
        return joined[start - numbers.start * BLOCK : stop - numbers.start * BLOCK]
