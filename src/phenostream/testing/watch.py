"""Watchers: what a run takes of disk and memory while it works, looked at from outside."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK = 512


class _Watch:
    """Looks every so often, in a thread of its own, until the block ends."""

    interval = 0.001

    def __init__(self) -> None:
        self.peak = self.looks = 0
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(self.interval):
            self.peak = max(self.peak, self.look())
            self.looks += 1

    def look(self) -> int:
        """Bytes taken now."""
        raise NotImplementedError


class ScratchWatch(_Watch):
    """Disk that scratch and half-written parts of a run folder take: ``with ScratchWatch(folder) as seen: ...``.

    Attributes:
        peak: most bytes seen, in blocks as the file system counts them, folders included.
        looks: how often it looked.
    """

    def __init__(self, folder: Path) -> None:
        """Watch the run folder `folder`, which need not exist yet."""
        super().__init__()
        self._folder = folder

    def look(self) -> int:
        """See `peak`; 0 where files came or went meanwhile.

        A walk is not a moment: it may see a file just before it goes, and then another that took its place. Only what
        two walks in a row see alike was there together.
        """
        seen = self._sizes()
        return sum(seen.values()) if seen == self._sizes() else 0

    def _sizes(self) -> dict[Path, int]:
        sizes = {}
        for path in self._scratch():
            with suppress(FileNotFoundError):
                sizes[path] = path.lstat().st_blocks * _BLOCK
        return sizes

    def _scratch(self) -> Iterator[Path]:
        for root, folders, names in os.walk(self._folder / "spool"):
            yield from (Path(root) / name for name in (*folders, *names))
        for root, _, names in os.walk(self._folder / "parts"):
            yield from (Path(root) / name for name in names if name.endswith(".part"))


class WorkerWatch(_Watch):
    """Memory of the worker processes of this process: ``with WorkerWatch() as seen: run(...)``. Linux only.

    Attributes:
        peak: most bytes resident in all of them together: the sum of each one's own peak, as the kernel keeps it.
        looks: how often it looked.
    """

    interval = 0.05

    def look(self) -> int:
        """See `peak`."""
        return sum(_peak_of(child) for child in children(os.getpid()))


def children(pid: int) -> list[int]:
    """Processes that the process `pid` has started and that still live. Linux only."""
    found: set[int] = set()
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            found.update(map(int, (thread / "children").read_text().split()))
    return sorted(found)


def _peak_of(pid: int) -> int:
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0
