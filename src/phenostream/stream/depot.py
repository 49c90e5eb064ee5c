"""A run's depot: parts and models go to storage that others see, by the protocol that holds in the run folder.

Object whole and proven, then the ledger's transaction that names it. The ledger itself stays on the disk of the machine
that conducts; a copy of it is put beside the parts, so that they can be read from anywhere.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
import uuid
from concurrent.futures import wait
from contextlib import closing, suppress
from itertools import groupby
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from phenostream import disk
from phenostream.errors import (
    BusyError,
    DamagedError,
    DiskFullError,
    ExistsError,
    LedgerError,
    NotFoundError,
    PhenostreamError,
    RecipeError,
)
from phenostream.profiles.places import NOTE, note_of
from phenostream.sources.depots import LocalDepot, is_url, open_depot
from phenostream.sources.names import shown
from phenostream.stream import errands
from phenostream.stream.budget import on_disk
from phenostream.stream.fetch import CancelledFetchError
from phenostream.stream.folder import content_name, named_disk, write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from phenostream.sources.depots import RemoteDepot
    from phenostream.stream.budget import Budget
    from phenostream.stream.journal import Journal
    from phenostream.stream.ledger import Ledger
    from phenostream.stream.recipe import OutputSettings

OWNER = "owner.json"
_ROOMS = ("parts", "illumination")

_COPY = "ledger-copy.db"
EVERY = 600.0
_PAUSE = 0.05
NAMES_SOMETHING = "SELECT 1 FROM parts UNION ALL SELECT 1 FROM fits LIMIT 1"


class RunDepot:
    """Storage that the parts of one run folder, and of no other, are put into.

    Attributes:
        at: where it is, as readers on this machine name it.
    """

    def __init__(
        self,
        depot: LocalDepot | RemoteDepot,
        at: str,
        *,
        folder: Path,
        journal: Journal,
        budget: Budget,
        halted: Event,
        every: float | None = None,
    ) -> None:
        """Put into `depot`, whose waits end when `halted`; the ledger's copy is renewed after `every` seconds."""
        self.at = at
        self._depot = depot
        self._folder = folder
        self._journal = journal
        self._budget = budget
        self._halted = halted
        self._every = EVERY if every is None else every
        self._copied = time.monotonic()
        self._copying: Future[bool] | None = None

    def halt(self) -> None:
        """Try nothing again from here on: the run is being stopped."""
        self._halted.set()

    # ---- beginning ---------------------------------------------------------------------------------------------------

    def begin(self, ledger: Ledger, *, work: bool) -> None:
        """Make sure that the depot is this run's, and sweep from it what the ledger does not name.

        Nothing is asked of it where there is nothing to do (`work`) and the last run has left all in order.

        Raises:
            ExistsError: it holds another run's parts, or other files.
            BusyError: a copy of this run folder has gone on from here.
            LedgerError: the parts that the ledger names lie elsewhere.
            What stores raise: forbidden, no such bucket, unreachable.
        """
        if ledger.get("parts_at") == self.at and ledger.get("depot_clean") and not work:
            return
        orderly = bool(ledger.get("depot_clean"))
        token = self._claim(ledger)
        write_text(self._folder / NOTE, note_of(self.at, self._depot.options))
        _calmly(self._take, token, ledger.get("depot_run"), new=not ledger.get("depot_token"))
        self._bring_models(ledger)
        if not orderly:
            self._sweep(ledger.named_files)

    def _claim(self, ledger: Ledger) -> str:
        """Check that it is ours, and write into the ledger under which token it will be."""
        owner = _calmly(owner_of, self._depot)
        run = ledger.get("depot_run")
        if owner is None:
            self._refuse_unowned(ledger)
        elif owner.get("run") != run:
            raise ExistsError(
                f"{self.at} holds the parts of another run ({owner.get('folder', 'unknown')})",
                remedy="choose another output.parts; to go on with that run elsewhere, first copy its ledger.db and"
                " run.json from there into the run folder",
            )
        elif owner.get("token") not in {ledger.get("depot_token"), ledger.get("depot_next")}:
            raise BusyError(
                f"a copy of this run folder ({owner.get('folder', 'unknown')}) has gone on with {self.at}",
                remedy="go on there; or copy ledger.db from the depot into this folder",
            )
        token = uuid.uuid4().hex
        with ledger.transaction():
            ledger.put(
                depot_run=run or uuid.uuid4().hex, depot_token=str((owner or {}).get("token", "")), depot_next=token,
                parts_at=self.at, depot_clean="",
            )  # fmt: skip
        return token

    def _refuse_unowned(self, ledger: Ledger) -> None:
        """Nobody's: fine where nothing lies there, or where this run was before and somebody has taken its mark."""
        empty, known = _calmly(self._depot.is_empty), ledger.get("parts_at")
        names = ledger.query(NAMES_SOMETHING)
        if names and known == self.at and empty:
            raise LedgerError(
                f"{self.at} has been emptied: it held the parts of this run",
                remedy="`phenostream verify --repair` computes all of them again",
            )
        if names and known != self.at:
            where = known or "the run folder"
            raise LedgerError(
                f"the parts of this run lie in {where}, not in {self.at}",
                remedy="bring output.parts back to what it was, or choose another --out",
            )
        if not (empty or known == self.at):
            raise ExistsError(f"{self.at} holds other files", remedy="choose an empty prefix or folder")

    def _take(self, token: str, run: str, *, new: bool) -> None:
        """Write our token; a copy of the ledger that is restored from here must know it, so the copy comes first."""
        if not new:
            self._copy(patient=True)
        told = {"run": run, "token": token, "folder": f"{os.uname().nodename}:{self._folder.resolve()}"}
        self._depot.put(OWNER, (json.dumps(told, indent=2, sort_keys=True) + "\n").encode())
        if (owner_of(self._depot) or {}).get("token") != token:
            raise BusyError(f"another process has begun with {self.at}", remedy="wait for it, or stop it")
        if new:
            self._copy(patient=True)

    def _bring_models(self, ledger: Ledger) -> None:
        """Workers read models from the run folder; in one restored from its ledger alone they are not there yet."""
        for path, sha256 in ledger.query("SELECT path, sha256 FROM fits"):
            if (self._folder / path).is_file():
                continue
            data = _calmly(self._depot.read, path)
            if content_name(data, *_room(path)) != (path, sha256):
                raise DamagedError(f"{path} in {self.at} is not what was written", remedy="phenostream verify --repair")
            with named_disk(self._folder):
                (self._folder / path).parent.mkdir(parents=True, exist_ok=True)
                disk.replace_bytes(self._folder / path, data)

    def _sweep(self, named: Callable[[str], set[str]]) -> None:
        found = list(strays_in(self._depot, named))
        if found:
            _calmly(self._depot.delete, found)
            self._journal.note("swept", f"swept {len(found):,} files from {self.at} that nothing names")

    # ---- storing -----------------------------------------------------------------------------------------------------

    def store(self, payload: bytes, room: str, suffix: str) -> tuple[str, str]:
        """Put `payload` under its content hash: (name, sha256). Once this returns, the ledger may name it."""
        name, sha256 = content_name(payload, room, suffix)
        try:
            self._depot.put(name, payload)
        except PhenostreamError as error:
            error.at(step="store", depot=self.at)
            raise
        return name, sha256

    def deposit(self, payload: bytes, room: str, suffix: str) -> None:
        """As `store`, from the main thread, which keeps hearing interrupts."""
        _calmly(self.store, payload, room, suffix)

    # ---- the ledger's copy -------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Renew the ledger's copy when it is old; what is transient there is tried again later."""
        if self._copying is None:
            if time.monotonic() - self._copied > self._every:
                self._copying = errands.send(self._copy)
        elif self._copying.done():
            copying, self._copying = self._copying, None
            self._copied = time.monotonic()
            error = copying.exception()
            if error is not None and not (isinstance(error, PhenostreamError) and error.transient):
                raise error
            if error is not None:
                self._journal.note("not-copied", f"the ledger's copy waits: {error}")

    def end(self, ledger: Ledger, *, grace: float | None = None) -> None:
        """Leave a copy of the finished ledger, after which nothing is to be done here.

        With a `grace` in seconds the copy may be late: then the one before stands until the next run.

        Raises:
            What stores raise, but for a copy within a grace.
        """
        if ledger.get("depot_clean"):
            return
        wait([self._copying] if self._copying else [], timeout=grace)
        try:
            copied = errands.send(self._copy, patient=True).result(timeout=grace)
        except (TimeoutError, PhenostreamError, CancelledFetchError) as error:
            if grace is None:
                raise
            self._journal.note("not-copied", f"the ledger in {self.at} is of before: {error or 'no time'}")
        else:
            if copied and grace is None:
                ledger.put(depot_clean="1")

    def _copy(self, *, patient: bool = False) -> bool:
        """Put run.json and a consistent copy of the ledger; the copy is scratch, and leased as such.

        Where the budget has no room, who is `patient` waits for it: other runs hold it.
        """
        path = self._folder / "ledger.db"
        while (lease := self._budget.lease(on_disk(_size_of_copy(path)))) is None:
            if not patient or self._halted.wait(_PAUSE):
                return False
        copy = self._folder / "spool" / f"{uuid.uuid4().hex[:8]}-{_COPY}"
        try:
            _copy_database(path, copy)
            with suppress(FileNotFoundError):  # stopped before it was written
                self._depot.put("run.json", (self._folder / "run.json").read_bytes())
            self._depot.put("README.txt", _README.encode())
            self._depot.put("ledger.db", copy)
        finally:
            copy.unlink(missing_ok=True)
            lease.close()
        return True


_README = """These are the parts and illumination models of one phenostream run, with a copy of its ledger.

ledger.db      which image gave which part, and which gave none; as of the end of the last run
run.json       the resolved recipe, versions, seeds and input hashes
parts/         one Parquet file a field, named by its content; only those that the ledger names count
illumination/  the fitted illumination functions, one .npz a plate and channel
owner.json     which run folder writes here; no other one may

phenostream.read_profiles(ADDRESS OF THIS FOLDER) reads them, and so it does in a copy of this folder.
"""


def open_run_depot(
    output: OutputSettings,
    folder: Path,
    *,
    journal: Journal,
    budget: Budget,
) -> RunDepot | None:
    """The depot that a recipe names; None where parts go into the run folder. Raises RecipeError."""
    if not output.parts:
        return None
    halted = Event()

    def sleep(seconds: float) -> None:
        if halted.wait(seconds):
            raise CancelledFetchError

    depot = open_depot(output.parts, options=output.transport, sleep=sleep)
    if not isinstance(depot, LocalDepot):
        at = shown(is_url(output.parts)).rstrip("/")
        return RunDepot(depot, at, folder=folder, journal=journal, budget=budget, halted=halted)
    place, here = depot.root(), folder.resolve()
    if place == here or place in here.parents or here in place.parents:
        raise RecipeError(f"output.parts {place} and the run folder lie in each other", remedy="choose another folder")
    return RunDepot(depot, str(place), folder=folder, journal=journal, budget=budget, halted=halted)


def owner_of(depot: LocalDepot | RemoteDepot) -> dict[str, Any] | None:
    """Whose a depot is: its run and token; None where nobody's. Raises DamagedError."""
    try:
        told = json.loads(depot.read(OWNER))
    except NotFoundError:
        return None
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise DamagedError(f"{OWNER} in {depot!r} does not say whose it is", remedy="is it a depot of phenostream?")
    return told


def strays_in(depot: LocalDepot | RemoteDepot, named: Callable[[str], set[str]]) -> Iterator[str]:
    """Parts and models in a depot that are not `named`, which gives those below a folder that the ledger names."""
    for room in _ROOMS:
        for shelf, keys in groupby(_calmly(depot.keys, room), lambda key: key.rpartition("/")[0]):
            yield from sorted(set(keys) - named(f"{shelf}/"))


def refuse_moved(ledger: Ledger, folder: Path) -> None:
    """Raise LedgerError where a run whose parts lie in a depot is to go on in its folder."""
    if ledger.get("parts_at"):
        if ledger.query(NAMES_SOMETHING):
            raise LedgerError(
                f"the parts of {folder} lie in {ledger.get('parts_at')}",
                remedy="set output.parts to that, or choose another --out",
            )
        ledger.put(parts_at="", depot_clean="")
        (folder / NOTE).unlink(missing_ok=True)


def _room(path: str) -> tuple[str, str]:
    return path.partition("/")[0], Path(path).suffix


def _size_of_copy(path: Path) -> int:
    with closing(sqlite3.connect(path, timeout=30)) as database:
        pages, size = (database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    return int(pages * size)


def _copy_database(path: Path, copy: Path) -> None:
    try:
        with closing(sqlite3.connect(path, timeout=30)) as source, closing(sqlite3.connect(copy)) as target:
            target.execute("PRAGMA synchronous=OFF")
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")  # a reader of one file, perhaps read-only, needs no log
    except sqlite3.OperationalError as error:
        raise DiskFullError(f"cannot copy {path}: {error}", remedy="free disk space, then run again") from error


def _calmly(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """A call that may wait for a network, in a thread: the main thread keeps hearing interrupts."""
    return errands.send(call, *arguments, **options).result()
