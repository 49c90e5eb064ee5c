"""Claims: processes that share a place share one disk budget.

Each holds a claim there, a small locked file that says how many bytes it has been granted. A lock ends with its
process, so a claim that can be locked is a dead one's: its scratch is deleted, then its bytes are free again.

Budgets may differ. Processes whose budgets are at most b never hold more than b together, for every b among them: a
larger budget beside a smaller one neither starves it nor adds to it. What a process waits for with empty hands is kept
from those that came later, or that hold something already.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from phenostream.errors import DiskFullError
from phenostream.stream.budget import Budget
from phenostream.stream.folder import clear_spool, named_disk

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = "%020d %020d %020d %020d\n"
_SUFFIX = ".claim"


@dataclass(frozen=True, slots=True)
class Claim:
    """What one process says of itself.

    Attributes:
        used: bytes granted.
        total: its budget.
        wish: bytes that it waits for with empty hands, 0 for none.
        since: when it began to wait, in nanoseconds of this machine's monotonic clock.
        pid: its process.
        folder: run folder whose spool is its scratch; empty for a worker, whose scratch is a folder of its own.
        scratch: where it writes.
    """

    used: int
    total: int
    wish: int
    since: int
    pid: int
    folder: str
    scratch: str

    @classmethod
    def read(cls, file: IO[bytes]) -> Claim:
        """The claim in a file."""
        head, _, who = file.read().partition(b"\n")
        used, total, wish, since = map(int, head.split())
        told = json.loads(who)
        return cls(used, total, wish, since, int(told["pid"]), str(told["folder"]), str(told["scratch"]))

    def __str__(self) -> str:
        return f"process {self.pid} in {self.folder or self.scratch} ({self.used:,} bytes)"


class SharedBudget(Budget):
    """A budget that processes of one machine share through a folder, from :meth:`join` to :meth:`leave`.

    Before and after it is a budget of its own.

    Attributes:
        peak: the most that was granted at once to processes whose budgets are no larger.
    """

    def __init__(self, total: int, place: Path, *, name: str, scratch: Path, folder: Path | None = None) -> None:
        """A share in the budgets whose claims lie in `place`.

        Args:
            total: bytes of disk that this process may use at once.
            place: a folder on a local disk.
            name: of the claim; a process of this name that has died is taken for cleaned up.
            scratch: where this process writes; deleted by others when it has died, if its last part is `name`.
            folder: the run folder whose spool is the scratch; emptied by others when the process has died.
        """
        super().__init__(total)
        self._place = place
        self._path = place / f"{name}{_SUFFIX}"
        self._gate_path = os.fspath(place / "lock")
        self._who = json.dumps({"pid": os.getpid(), "folder": str(folder or ""), "scratch": str(scratch)}).encode()
        self._wish = self._since = 0
        self._claim: IO[bytes] | None = None
        self._gate: IO[bytes] | None = None

    def join(self) -> None:
        """Share from here on. Raises DiskFullError where the place cannot be written, or is somebody else's."""
        with named_disk(self._place), self._lock, self._turn():
            self._open()

    def leave(self) -> None:
        """Give up the claim; what this process has written must be gone."""
        with self._lock:
            if self._claim:
                with suppress(OSError), self._turn():
                    self._path.unlink(missing_ok=True)
                self._claim.close()
            if self._gate:
                self._gate.close()
            self._claim = self._gate = None

    def others(self) -> list[Claim]:
        """Claims of the other processes that share the place and hold something, or wait with empty hands."""
        with named_disk(self._place), self._lock:
            if self._claim is None:
                return []
            with self._turn():
                return [claim for claim in self._others() if claim.used or claim.wish]

    # ---- granting ----------------------------------------------------------------------------------------------------

    def _take(self, size: int) -> bool:
        if self._claim is None:
            return super()._take(size)
        with named_disk(self._place), self._lock, self._turn():
            others = self._others()
            if not self._fits(size, others):
                self._wait_for(size)
                return False
            before = self._used, self._wish, self._since
            self._used, self._wish, self._since = self._used + size, 0, 0
            try:
                self._tell()
            except OSError:
                self._used, self._wish, self._since = before
                raise
            self.peak = max(self.peak, self._used + sum(one.used for one in others if one.total <= self.total))
            return True

    def _give(self, size: int) -> None:
        with self._lock:
            self._used -= size
            if self._claim is not None:
                with suppress(OSError), self._turn():  # told or not, the bytes are gone: to hold too much is safe
                    self._tell()

    def _wait_for(self, size: int) -> None:
        if not self._used:
            self._wish, self._since = max(size, self._wish), self._since or time.monotonic_ns()
            self._tell()

    def _fits(self, size: int, others: list[Claim]) -> bool:
        levels = {self.total, *(one.total for one in others if one.total > self.total)}
        return all(
            self._used + size + sum(self._held(one) for one in others if one.total <= level) <= level
            for level in levels
        )

    def _held(self, other: Claim) -> int:
        """Bytes that another one holds, or that are kept for it since it has waited longer."""
        if other.used:
            return other.used
        first = self._used or not self._since or other.since < self._since
        return other.wish if first else 0

    # ---- files -------------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Begin a claim; what stood under its name is over."""
        claim = self._path.open("w+b", buffering=0)
        try:
            fcntl.flock(claim, fcntl.LOCK_EX)
            claim.write(self._head() + self._who)
        except BaseException:
            claim.close()
            raise
        if self._claim:
            self._claim.close()
        self._claim = claim

    def _head(self) -> bytes:
        return (_HEAD % (self._used, self.total, self._wish, self._since)).encode()

    def _tell(self) -> None:
        if self._claim is None or not _is_there(self._claim, self._path):  # who tidies /tmp may have taken it
            self._open()
        else:
            os.pwrite(self._claim.fileno(), self._head(), 0)

    def _others(self) -> list[Claim]:
        with os.scandir(self._place) as entries:
            names = [entry.name for entry in entries if entry.name.endswith(_SUFFIX)]
        return [claim for name in names if name != self._path.name and (claim := _read(self._place / name))]

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One process at a time reads or writes claims."""
        while True:
            if self._gate is None:
                _make(self._place)
                self._gate = open(self._gate_path, "ab")  # noqa: SIM115  (closed when the budget is left)
            fcntl.flock(self._gate, fcntl.LOCK_EX)
            if _is_there(self._gate, self._gate_path):
                break
            self._gate.close()
            self._gate = None
        try:
            yield
        finally:
            fcntl.flock(self._gate, fcntl.LOCK_UN)


def place_for(folder: str | Path, named: str = "") -> Path:
    """Where the claims lie of all runs of this user whose scratch is on the file system of `folder`; or `named`."""
    if named:
        return Path(named).expanduser().absolute()
    return Path(tempfile.gettempdir()) / f"phenostream-{os.geteuid()}" / f"budget-{os.stat(folder).st_dev:x}"


def _make(place: Path) -> None:
    """Make the folder of claims; a default one, whose name anyone can guess, must be this user's own."""
    private = place.parent.name == f"phenostream-{os.geteuid()}"
    if private:
        place.parent.mkdir(mode=0o700, exist_ok=True)
        found = place.parent.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise DiskFullError(f"{place.parent} is another user's", remedy="set stream.budget_folder")
    place.mkdir(parents=True, exist_ok=True)


def _is_there(file: IO[bytes], path: str | Path) -> bool:
    """Whether the open `file` still is what `path` names."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _read(path: Path) -> Claim | None:
    """A claim; None for a dead one whose scratch could be deleted, which is then gone."""
    try:
        with path.open("rb") as file:
            claim = Claim.read(file)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return claim
            if not _clear(claim, path.stem):
                return claim
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):  # its process died while it was made
        pass
    with suppress(OSError):
        path.unlink()
    return None


def _clear(dead: Claim, name: str) -> bool:
    """Delete what a dead process left; false where it stays, or may not be touched."""
    if dead.folder:
        return _clear_run(Path(dead.folder))
    scratch = Path(dead.scratch)
    if scratch.name == name and not scratch.is_symlink():  # nothing but what a worker has made
        shutil.rmtree(scratch, ignore_errors=True)
    return not scratch.exists()


def _clear_run(folder: Path) -> bool:
    """Empty the spool of a run folder in which no process works."""
    try:
        with (folder / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if (folder / "ledger.db").is_file():
                clear_spool(folder)
    except FileNotFoundError:  # the folder is gone, and its scratch with it
        return True
    except OSError:  # it works again, or cannot be written: those bytes stay where they are
        return False
    return True
