"""Files of known size that can be read anywhere, for libraries that want a file object."""

from __future__ import annotations

import io


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
