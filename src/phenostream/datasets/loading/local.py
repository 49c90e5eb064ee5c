"""Stored sites of a pack on this machine: positioned reads from files that stay open."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from phenostream.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from phenostream.datasets.loading.steps import Step
    from phenostream.datasets.packs import Pack

_OPEN = 128


class LocalReader:
    """Reads stored sites; several threads may."""

    def __init__(self, pack: Pack, folder: Path) -> None:
        """Of `pack`, which lies in `folder`."""
        self._pack = pack
        self._folder = folder
        self._files: OrderedDict[str, _File] = OrderedDict()
        self._lock = threading.Lock()

    def ahead(self, steps: Iterator[Step]) -> Iterator[Step]:
        """The same steps, of each of which the system is told before it comes."""
        for step in steps:
            for site in step.sites:
                self._tell(int(site))
            yield step

    def blob(self, site: int) -> bytes:
        """The stored bytes of a site. Raises NotFoundError where its shard is not there."""
        pack = self._pack
        file = self._file(pack.shards[pack.shard_numbers[site]])
        return os.pread(file.handle, int(pack.lengths[site]), int(pack.offsets[site]))

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            self._files.clear()

    def _tell(self, site: int) -> None:
        pack = self._pack
        if not hasattr(os, "posix_fadvise"):
            return
        try:
            file = self._file(pack.shards[pack.shard_numbers[site]])
        except NotFoundError:
            return  # said where it is read
        os.posix_fadvise(file.handle, int(pack.offsets[site]), int(pack.lengths[site]), os.POSIX_FADV_WILLNEED)

    def _file(self, name: str) -> _File:
        with self._lock:
            file = self._files.pop(name, None) or _File(self._folder / name)
            self._files[name] = file
            # A thread that still reads from the file that goes holds it open.
            if len(self._files) > _OPEN:
                self._files.popitem(last=False)
            return file


class _File:
    """An open file, closed when nobody holds it."""

    def __init__(self, path: Path) -> None:
        self.handle = -1
        try:
            self.handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError as error:
            raise NotFoundError(f"shard {path} is not there", remedy="pack again: whole shards are kept") from error

    def __del__(self) -> None:
        if self.handle >= 0:
            os.close(self.handle)
