"""The ledger: one SQLite file that alone says which units are done and which parts exist.

Write-ahead log, ``synchronous=FULL``: what was committed survives a crash. Readers look only through it, so a part that
it does not name does not exist.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from array import array
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from phenostream import __version__
from phenostream.errors import DiskFullError, LedgerError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

SCHEMA_VERSION = 1
# The index of a million keys stays in memory: keys come in no order, and each would cost a page read and written.
_CACHE_KB = 65_536

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS units(
    key TEXT PRIMARY KEY, position INTEGER NOT NULL,
    study TEXT, plate TEXT, well TEXT, site TEXT, time INTEGER, z INTEGER,
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting','done','rejected','failed')),
    reason TEXT, step TEXT, message TEXT, remedy TEXT, error_id TEXT,
    part TEXT, rows INTEGER, bytes INTEGER, source TEXT,
    qc TEXT, annotation TEXT, seconds TEXT, finished REAL
);
DROP INDEX IF EXISTS units_by_state;
CREATE INDEX IF NOT EXISTS units_by_position ON units(position);
CREATE INDEX IF NOT EXISTS units_to_do ON units(position) WHERE state='waiting';
CREATE INDEX IF NOT EXISTS units_at_fault ON units(position) WHERE state IN ('rejected','failed');
CREATE INDEX IF NOT EXISTS units_by_end ON units(finished) WHERE finished IS NOT NULL;
CREATE TABLE IF NOT EXISTS parts(
    path TEXT PRIMARY KEY, sha256 TEXT NOT NULL, bytes INTEGER NOT NULL, rows INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS fits(
    key TEXT PRIMARY KEY, plate TEXT, channel TEXT, path TEXT NOT NULL, sha256 TEXT NOT NULL, frames INTEGER
);
CREATE TABLE IF NOT EXISTS plan(name TEXT PRIMARY KEY, content BLOB NOT NULL);
"""

# Counted as units change, so that no start and no look at the status costs more the more units there are. By triggers,
# since whatever writes a unit then counts it, an older phenostream too.
_COUNT = """INSERT INTO tally(state,reason,units,rows) VALUES({unit}.state,coalesce({unit}.reason,''),{sign}1,
 {sign}coalesce({unit}.rows,0)) ON CONFLICT(state,reason) DO UPDATE SET units=units+excluded.units,
 rows=rows+excluded.rows;"""
_IN, _OUT = _COUNT.format(unit="new", sign=""), _COUNT.format(unit="old", sign="-")
_TALLY = (
    """CREATE TABLE tally(state TEXT NOT NULL, reason TEXT NOT NULL, units INTEGER NOT NULL, rows INTEGER NOT NULL,
    PRIMARY KEY(state, reason)) WITHOUT ROWID""",
    f"CREATE TRIGGER unit_in AFTER INSERT ON units BEGIN {_IN} END",
    f"CREATE TRIGGER unit_out AFTER DELETE ON units BEGIN {_OUT} END",
    f"CREATE TRIGGER unit_changed AFTER UPDATE OF state, reason, rows ON units BEGIN {_OUT} {_IN} END",
)
_SCAN = "SELECT state, coalesce(reason,''), count(*), coalesce(sum(rows),0) FROM units GROUP BY state, reason"


_PLACED = ("position", "study", "plate", "well", "site", "time", "z", "annotation")
_ENROL = (  # a unit that stands there as it is costs a look and no write
    f"INSERT INTO units(key,{','.join(_PLACED)}) VALUES(?,?,?,?,?,?,?,?,?) ON CONFLICT(key) DO UPDATE SET "
    f"{','.join(f'{name}=excluded.{name}' for name in _PLACED)} WHERE "
    f"{' OR '.join(f'{name} IS NOT excluded.{name}' for name in _PLACED)}"
)


@dataclass(frozen=True, slots=True)
class Part:
    """A written part: path relative to the run folder, sha256 of its bytes, size, rows."""

    path: str
    sha256: str
    bytes: int
    rows: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one unit ended: done with a part, or rejected or failed with a reason."""

    key: str
    state: str
    part: Part | None = None
    reason: str = ""
    step: str = ""
    message: str = ""
    remedy: str = ""
    source: str = ""
    qc: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def error_id(self) -> str:
        """The id under which the failure stands in status, report and both logs."""
        return "" if self.state == "done" else self.key[:12]


class Ledger:
    """The units, parts and fits of one run folder."""

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        """Open the ledger of `folder`.

        Raises:
            NotFoundError: there is none and `create` is false.
            LedgerError: it is damaged or was written by a newer phenostream.
            DiskFullError: the disk is full or read-only.
        """
        path = folder / "ledger.db"
        if not create and not path.is_file():
            raise NotFoundError(f"{folder} is not a run folder: it has no ledger.db", remedy="start one with `run`")
        with _named(path):
            self._db = sqlite3.connect(path, isolation_level=None, timeout=30)
            if create:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
                self._db.execute(f"PRAGMA cache_size=-{_CACHE_KB}")
                self._db.execute(f"PRAGMA journal_size_limit={_CACHE_KB * 1024}")
        self.path = path
        self._check_version()
        if not create and not self.query("SELECT 1 FROM sqlite_master WHERE name='units'"):
            self.close()
            raise NotFoundError(f"the run in {folder} was stopped before it began", remedy="run its recipe again")
        if create:
            with _named(path), self.transaction():
                for statement in _SCHEMA.split(";"):
                    self._db.execute(statement)
                self._begin_tally()
                self._set_default("schema_version", str(SCHEMA_VERSION))
                self._set_default("made_by", f"phenostream {__version__}")

    def _begin_tally(self) -> None:
        if not self._has_tally():
            for statement in _TALLY:
                self._db.execute(statement)
            self.count_anew()

    def _has_tally(self) -> bool:
        return bool(self._db.execute("SELECT 1 FROM sqlite_master WHERE name='tally'").fetchone())

    def _check_version(self) -> None:
        with _named(self.path):
            known = self._db.execute("SELECT 1 FROM sqlite_master WHERE name='meta'").fetchone()
            found = int(self.get("schema_version", "0")) if known else 0
        if found > SCHEMA_VERSION:
            made_by = self.get("made_by", "a newer phenostream")
            self.close()
            raise LedgerError(
                f"{self.path} has schema {found}, this version reads up to {SCHEMA_VERSION}",
                remedy=f"it was made by {made_by}: install that version or a later one",
            )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside becomes visible together, or not at all; within another one, with that one."""
        if self._db.in_transaction:
            yield
            return
        with _named(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # SQLite ends it by itself where the disk is full
                    self._db.execute("ROLLBACK")
                raise

    def get(self, name: str, default: str = "") -> str:
        """A value of the `meta` table."""
        row = self.query("SELECT value FROM meta WHERE name=?", (name,))
        return str(row[0][0]) if row else default

    def put(self, **pairs: str) -> None:
        """Set values of the `meta` table, within the caller's transaction where there is one."""
        with _named(self.path):
            self._db.executemany("INSERT OR REPLACE INTO meta VALUES(?,?)", pairs.items())

    def _set_default(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR IGNORE INTO meta VALUES(?,?)", (name, value))

    def enrol(self, rows: Iterable[tuple[Any, ...]]) -> int:
        """Make the plan's units known; those known already keep their state.

        Args:
            rows: (key, position, study, plate, well, site, time, z, annotation JSON) of each planned unit.

        Returns:
            How many units were superseded: the same field stands in the plan under another key, since its file or a
            step's code changed. Their rows go, and with the next sweep their parts.

        Raises:
            LedgerError: units stand here that the plan does not name; nothing is changed.
        """
        planned: list[bytes] = []
        with self.transaction():
            self._db.executemany(_ENROL, _noting_keys(rows, planned))
            if len(planned) == self._db.execute("SELECT count(*) FROM units").fetchone()[0]:
                return 0
            self._unplan(planned)
            superseded = self._db.execute(
                "DELETE FROM units WHERE position<0 AND (study,plate,well,site,time,z) IN"
                " (SELECT study,plate,well,site,time,z FROM units WHERE position>=0)"
            ).rowcount
            if superseded:
                self._forget_parts()
            if unplanned := self._db.execute("SELECT count(*) FROM units WHERE position<0").fetchone()[0]:
                raise LedgerError(
                    f"{unplanned:,} units of {self.path.parent} are of fields that this recipe does not select",
                    remedy="choose another --out; a run folder only grows",
                )
        return int(superseded)

    def _unplan(self, planned: list[bytes]) -> None:
        """Take the position from units that are not among the `planned` keys."""
        self._db.execute("CREATE TEMP TABLE planned(key TEXT PRIMARY KEY) WITHOUT ROWID")
        self._db.executemany("INSERT INTO planned VALUES(?)", ((key.decode(),) for key in planned))
        self._db.execute("UPDATE units SET position=-1 WHERE key NOT IN (SELECT key FROM planned)")
        self._db.execute("DROP TABLE planned")

    def keep_plan(self, fingerprint: str, blobs: Iterable[tuple[str, bytes]]) -> None:
        """Keep a plan whose units are enrolled, so that it need not be made again; none without `fingerprint`."""
        digest = hashlib.sha256()
        with self.transaction():
            self._db.execute("DELETE FROM plan")
            for name, content in blobs if fingerprint else ():
                digest.update(content)
                self._db.execute("INSERT INTO plan VALUES(?,?)", (name, content))
            self.put(plan=f"{fingerprint} {digest.hexdigest()}")

    def kept_plan(self, fingerprint: str) -> dict[str, bytes]:
        """What was kept under this fingerprint; empty where nothing was, or where it is damaged."""
        known, _, expected = self.get("plan").partition(" ")
        if not fingerprint or known != fingerprint:
            return {}
        digest = hashlib.sha256()
        blobs = dict(self.query("SELECT name, content FROM plan ORDER BY rowid"))
        for content in blobs.values():
            digest.update(content)
        return blobs if digest.hexdigest() == expected else {}

    def forget(self, units: Iterable[str], fits: Iterable[str]) -> None:
        """Put units back to waiting and drop fits, by key: what they named, and what no unit names, goes unnamed."""
        with self.transaction():
            self._db.executemany(
                "UPDATE units SET state='waiting',part=NULL,rows=NULL,bytes=NULL,source=NULL,qc=NULL,seconds=NULL,"
                "reason=NULL,step=NULL,message=NULL,remedy=NULL,error_id=NULL,finished=NULL WHERE key=?",
                ((key,) for key in units),
            )
            self._db.executemany("DELETE FROM fits WHERE key=?", ((key,) for key in fits))
            self._forget_parts()
            self.put(plan="")  # what a repair doubts is planned anew

    def _forget_parts(self) -> None:
        self._db.execute("DELETE FROM parts WHERE path NOT IN (SELECT part FROM units WHERE part NOTNULL)")

    def retry(self, states: tuple[str, ...]) -> None:
        """Put units of these states, rejected or failed, back to waiting."""
        marks = ",".join("?" * len(states))
        with self.transaction():
            self._db.execute(
                "UPDATE units SET state='waiting',reason=NULL,step=NULL,message=NULL,remedy=NULL,error_id=NULL,"  # noqa: S608
                f"finished=NULL WHERE state IN ('rejected','failed') AND state IN ({marks})",
                states,
            )

    def waiting(self) -> set[str]:
        """Keys of the units that are still to be done."""
        return {row[0] for row in self._db.execute("SELECT key FROM units WHERE state='waiting'")}

    def to_do(self) -> array[int]:
        """Positions of the units that are still to be done, ascending."""
        rows = self._db.execute(
            "SELECT position FROM units INDEXED BY units_to_do WHERE state='waiting' ORDER BY position"
        )
        return array("q", (row[0] for row in rows))

    def record(self, outcomes: Iterable[Outcome]) -> None:
        """Make the outcomes and their parts visible in one transaction."""
        with self.transaction():
            for outcome in outcomes:
                part = outcome.part
                if part:
                    self._db.execute(
                        "INSERT OR IGNORE INTO parts VALUES(?,?,?,?)", (part.path, part.sha256, part.bytes, part.rows)
                    )
                self._db.execute(
                    "UPDATE units SET state=?,reason=?,step=?,message=?,remedy=?,error_id=?,part=?,rows=?,bytes=?,"
                    "source=?,qc=?,seconds=?,finished=? WHERE key=?",
                    (
                        outcome.state, outcome.reason or None, outcome.step or None, outcome.message or None,
                        outcome.remedy or None, outcome.error_id or None,
                        part.path if part else None, part.rows if part else 0, part.bytes if part else 0,
                        outcome.source or None, json.dumps(dict(outcome.qc), sort_keys=True),
                        json.dumps(dict(outcome.seconds), sort_keys=True), time.time(), outcome.key,
                    ),
                )  # fmt: skip

    def record_fit(self, key: str, *, plate: str, channel: str, path: str, sha256: str, frames: int) -> None:
        """Name a fitted illumination model."""
        with self.transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO fits VALUES(?,?,?,?,?,?)", (key, plate, channel, path, sha256, frames)
            )

    def fit(self, key: str) -> str:
        """Path of a fit, relative to the run folder; empty where there is none."""
        row = self._db.execute("SELECT path FROM fits WHERE key=?", (key,)).fetchone()
        return str(row[0]) if row else ""

    def named_files(self, folder: str = "") -> set[str]:
        """Every file below `folder` of the run folder that the ledger vouches for, relative paths."""
        span = (folder, folder + chr(0x10FFFF)) * 2
        sql = "SELECT path FROM {0} WHERE path BETWEEN ? AND ?"
        return {row[0] for row in self._db.execute(f"{sql.format('parts')} UNION {sql.format('fits')}", span)}

    def tally(self) -> list[tuple[str, str, int, int]]:
        """State, reason (or nothing), units and rows, of every state and reason that there is."""
        with _named(self.path):
            counted = self._has_tally()  # the ledger of an older version that is only looked at
            return self._db.execute("SELECT * FROM tally WHERE units>0" if counted else _SCAN).fetchall()

    def counts(self) -> Counter[str]:
        """Units by state."""
        return _by_state(self.tally())

    def rows(self) -> int:
        """Rows of all parts."""
        return sum(rows for *_, rows in self.tally())

    def counted_anew(self) -> list[tuple[str, str, int, int]]:
        """The tally as the units themselves tell it, each one looked at."""
        return self.query(_SCAN)

    def count_anew(self) -> None:
        """Make the tally true again."""
        with self.transaction():
            self._db.execute("DELETE FROM tally")
            self._db.execute(f"INSERT INTO tally {_SCAN}")

    def query(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Rows of a read-only question."""
        with _named(self.path):
            return self._db.execute(sql, values).fetchall()

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _by_state(tally: Iterable[tuple[str, str, int, int]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for state, _, units, _ in tally:
        counts[state] += units
    return counts


def _noting_keys(rows: Iterable[tuple[Any, ...]], keys: list[bytes]) -> Iterator[tuple[Any, ...]]:
    for row in rows:
        keys.append(row[0].encode())
        yield row


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """SQLite's errors under this project's names."""
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if "full" in text or "readonly" in text or "I/O" in text or "unable to open" in text:
            raise DiskFullError(
                f"cannot write {path}: {text}", remedy="free disk space or choose another folder"
            ) from error
        raise LedgerError(f"{path}: {text}") from error
    except sqlite3.DatabaseError as error:
        raise LedgerError(f"{path} is not a ledger: {error}", remedy="choose another folder") from error
