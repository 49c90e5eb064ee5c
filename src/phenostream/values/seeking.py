"""Files of known size that can be read anywhere, for libraries that want a file object."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phenostream.values.store import Store


class Seeking(io.RawIOBase):
    """Where the next read begins; what is read, and how long the file is, its subclasses say."""

    size: int

    def __init__(self) -> None:
        """Start at the beginning."""
        super().__init__()
        self._at = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move; returns the new place."""
        self._at = (0, self._at, self.size)[whence] + offset
        return self._at


class Opened(Seeking):
    """A blob of a store: each read moves the bytes that are asked for, and no others."""

    def __init__(self, store: Store, key: str) -> None:
        """Ask for the length of `key`. Raises as `Store.size` does."""
        super().__init__()
        self._store, self._key, self.size = store, key, store.size(key)

    def readinto(self, buffer: Any) -> int:
        """Read as much as there is room for. Raises as `Store.read` does."""
        view = memoryview(buffer).cast("B")
        data = self._store.read(self._key, self._at, min(self._at + len(view), self.size)) if len(view) else b""
        view[: len(data)] = data
        self._at += len(data)
        return len(data)
