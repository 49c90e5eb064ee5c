"""The files of a run as they are now: in its folder, or in its depot, compared with what the ledger says of them."""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from phenostream.errors import DamagedError, PhenostreamError
from phenostream.profiles.places import depot_of
from phenostream.stream.depot import NAMES_SOMETHING, owner_of, strays_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from phenostream.stream.ledger import Ledger
    from phenostream.values import Store

    File = tuple[str, str, int | None]
    """Name of a part or model, its sha256, and its bytes where they are known."""

_AHEAD = 8


class Files:
    """The parts and models of a run, wherever they lie."""

    def __init__(self, path: Path) -> None:
        """Those of the run folder `path`."""
        self._path = path
        self._depot = depot_of(path)

    def compared(self, files: Sequence[File]) -> Iterator[tuple[str, str, bytes]]:
        """What is wrong with each file (name, sha256, bytes), as :func:`compare` tells it."""
        if self._depot is None:
            yield from (compare(self._path, *file) for file in files)
            return
        with ThreadPoolExecutor(_AHEAD) as pool:  # a few at a time: memory does not grow with the run
            waiting: deque[Future[tuple[str, str, bytes]]] = deque()
            for file in files:
                waiting.append(pool.submit(compare, self._path, *file, depot=self._depot))
                if len(waiting) > _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def strays(self, named: Callable[[str], set[str]]) -> Iterator[str]:
        """Files in the depot that the ledger does not name."""
        return strays_in(self._depot, named) if self._depot else iter(())

    def astray(self, ledger: Ledger) -> bool:
        """Whether they lie in a depot that does not say that it is this run's.

        One that belongs to nobody is in order while the ledger names nothing: the run died before it took it.
        """
        if self._depot is None:
            return False
        owner = owner_of(self._depot)
        return bool(owner or ledger.query(NAMES_SOMETHING)) and (owner or {}).get("run") != ledger.get("depot_run")

    def local_copies(self, files: Sequence[File]) -> Iterator[tuple[str, str, bytes]]:
        """The same of models, which workers read in the run folder even where a depot has them too."""
        for file in files:
            here = self._depot is not None and (self._path / file[0]).is_file()
            yield compare(self._path, *file) if here else ("", "", b"")


def compare(
    folder: Path, name: str, sha256: str, size: int | None, *, depot: Store | None = None
) -> tuple[str, str, bytes]:
    """Kind and message of what is wrong with a file's bytes (empty: nothing), and the bytes."""
    if ".." in Path(name).parts:
        return "ledger", "the ledger names a file outside the run folder", b""
    try:
        data = (folder / name).read_bytes() if depot is None else depot.read(name)
    except FileNotFoundError:
        return "missing", "the file is not there", b""
    except (DamagedError, OSError) as error:
        if isinstance(error, PhenostreamError) and not isinstance(error, DamagedError):
            raise  # the depot cannot be reached: that says nothing of the file
        return "damaged", f"cannot be read: {getattr(error, 'strerror', None) or error}", b""
    if size is not None and len(data) != size:
        return "damaged", f"{len(data):,} bytes instead of {size:,}", data
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        return "damaged", f"its sha256 is {found[:12]}..., not {sha256[:12]}...", data
    return "", "", data
