"""Whole files on disk for a while: for transports that cannot bring a part."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
import weakref
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from phenostream.errors import DiskFullError, PhenostreamError, TooLargeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_UNFINISHED = 8


@dataclass(frozen=True, slots=True)
class Copy:
    """A whole file that is being read.

    Attributes:
        handle: file descriptor, open for reading; it closes with the block that it was lent to.
        size: bytes.
        version: BLAKE2 hash of the content: a file fetched again counts as unchanged where it is.
    """

    handle: int
    size: int
    version: str


class Scratch:
    """Files that were fetched whole, the latest ones, up to a limit of bytes.

    A finished file loses its name at once and lives on as an open descriptor: whatever becomes of this process, the
    system gives its space back. Only what is still arriving has a name.
    """

    def __init__(self, parent: str, limit: int) -> None:
        """Hold `limit` bytes at most, in a new folder in `parent` (empty: the system's temporary folder)."""
        self.limit = limit
        self._parent = parent or tempfile.gettempdir()
        self._held: OrderedDict[str, Copy] = OrderedDict()
        self._unfinished: OrderedDict[str, Path] = OrderedDict()
        self._turns: dict[str, tuple[threading.Lock, list[object]]] = {}
        self._lock = threading.Lock()
        self._made: list[Path] = []
        weakref.finalize(self, _clear, os.getpid(), self._made, self._held)

    @contextmanager
    def copy(self, key: str, bring: Callable[[Path], Path]) -> Iterator[Copy]:
        """Lend the file `key`, brought by ``bring(folder)`` where it is not here yet; that gives the file's path.

        The folder holds what a broken transfer of the same file has left, so that the next can continue it.
        """
        with self._turn(key):
            found = self._lent(key) or self._add(key, bring)
        try:
            yield found
        finally:
            os.close(found.handle)

    @contextmanager
    def _turn(self, key: str) -> Iterator[None]:
        # Who wants a file that is on its way waits for it instead of fetching it again.
        me = object()
        with self._lock:
            lock, waiting = self._turns.setdefault(key, (threading.Lock(), []))
            waiting.append(me)
        try:
            with lock:
                yield
        finally:
            with self._lock:
                waiting.remove(me)
                if not waiting:
                    del self._turns[key]

    def _lent(self, key: str) -> Copy | None:
        with self._lock:
            found = self._held.get(key)
            if found is None:
                return None
            self._held.move_to_end(key)
            return Copy(os.dup(found.handle), found.size, found.version)

    def _add(self, key: str, bring: Callable[[Path], Path]) -> Copy:
        folder = self._folder(key)
        try:
            made = _taken(bring(folder))
        except PhenostreamError as error:
            if error.transient:
                self._leave(key, folder)
            else:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)
        self._hold(key, made)
        return Copy(os.dup(made.handle), made.size, made.version)

    def _folder(self, key: str) -> Path:
        with self._lock:
            left = self._unfinished.pop(key, None)
            if left is not None:
                return left
            try:
                if not self._made:
                    Path(self._parent).mkdir(parents=True, exist_ok=True)
                    self._made.append(Path(tempfile.mkdtemp(prefix="phenostream-", dir=self._parent)))
                return Path(tempfile.mkdtemp(dir=self._made[0]))
            except OSError as error:
                told = f"the scratch folder {self._parent} cannot be written: {error.strerror}"
                raise DiskFullError(told, remedy="point scratch to another folder") from error

    def _leave(self, key: str, folder: Path) -> None:
        with self._lock:
            self._unfinished[key] = folder
            old = self._unfinished.popitem(last=False)[1] if len(self._unfinished) > _UNFINISHED else None
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)

    def _hold(self, key: str, made: Copy) -> None:
        if made.size > self.limit:
            os.close(made.handle)
            raise TooLargeError(f"{key} has {made.size} bytes", remedy="raise largest_scratch in the source's options")
        with self._lock:
            while self._held and sum(one.size for one in self._held.values()) + made.size > self.limit:
                os.close(self._held.popitem(last=False)[1].handle)
            self._held[key] = made


def _taken(path: Path) -> Copy:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        path.unlink()
        hasher = hashlib.blake2b(digest_size=20)
        at = 0
        while chunk := os.pread(handle, 1 << 20, at):
            hasher.update(chunk)
            at += len(chunk)
    except BaseException:
        os.close(handle)
        raise
    return Copy(handle, at, hasher.hexdigest())


def _clear(pid: int, made: list[Path], held: OrderedDict[str, Copy]) -> None:
    while held:
        os.close(held.popitem()[1].handle)
    if os.getpid() == pid:  # a forked child has no say over its parent's folder
        for folder in made:
            shutil.rmtree(folder, ignore_errors=True)
