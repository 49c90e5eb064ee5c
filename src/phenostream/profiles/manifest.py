"""What a run folder says of itself: units, parts and values of its ledger, read and never written here."""

from __future__ import annotations

import json
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Self

from phenostream.errors import HostileError, LedgerError, NotFoundError
from phenostream.profiles.places import run_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

LEDGER_VERSION = 1

_PARTS = """
SELECT parts.path, parts.sha256, parts.bytes, parts.rows, min(units.position) AS place
FROM units JOIN parts ON units.part = parts.path
WHERE units.state = 'done' AND units.position >= 0 GROUP BY parts.path ORDER BY place
"""


@dataclass(frozen=True, slots=True)
class PartEntry:
    """A part the ledger names: path in the run folder (bytes may be in a depot), sha256 of its bytes, size, rows."""

    path: Path
    sha256: str
    bytes: int
    rows: int


@dataclass(frozen=True, slots=True)
class Unit:
    """One line of the ledger: which image, how it ended, and the numbers seen on the way.

    Attributes:
        state: ``waiting``, ``done``, ``rejected`` or ``failed``.
        part: path of its part in the run folder (its bytes may lie in the run's depot), None where it has none.
        qc: numbers of the field (``n_objects``, ``focus_<channel>``, ``mean_<channel>`` ...).
        seconds: time by stage.
    """

    key: str
    position: int
    study: str = ""
    plate: str = ""
    well: str = ""
    site: str = ""
    time: int = 0
    z: int = 0
    state: str = "waiting"
    reason: str = ""
    step: str = ""
    message: str = ""
    remedy: str = ""
    error_id: str = ""
    part: Path | None = None
    rows: int = 0
    bytes: int = 0
    finished: float = 0.0
    qc: Mapping[str, float] = field(default_factory=dict, hash=False)
    annotation: Mapping[str, str] = field(default_factory=dict, hash=False)
    seconds: Mapping[str, float] = field(default_factory=dict, hash=False)


class Manifest:
    """The ledger of one run folder, open for reading; use it in a ``with``."""

    def __init__(self, folder: str | Path) -> None:
        """Open the ledger of `folder` (or of a run's ``s3://``, ``gs://`` depot), also while a run is writing it.

        Raises:
            NotFoundError: the folder has no ledger.
            LedgerError: it is damaged, or written by a newer phenostream.
        """
        self.folder = run_folder(folder)
        path = self.folder / "ledger.db"
        if not path.is_file():
            raise NotFoundError(f"{folder} is not a run folder: it has no ledger.db", remedy="give the folder of a run")
        self._path = path
        with self._named():
            self._db = _connect(path)
            self._db.row_factory = sqlite3.Row
        try:
            self._check_version()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def meta(self) -> dict[str, str]:
        """The values of the table `meta`."""
        with self._named():
            return {str(row["name"]): str(row["value"]) for row in self._db.execute("SELECT name, value FROM meta")}

    def parts(self) -> list[PartEntry]:
        """The parts of the planned units that are done, in the order of the plan."""
        with self._named():
            found = self._db.execute(_PARTS).fetchall()
        return [PartEntry(self._inside(row["path"]), row["sha256"], row["bytes"], row["rows"]) for row in found]

    def units(self) -> Iterator[Unit]:
        """The units of the last plan, in its order; those an earlier plan left behind are not among them."""
        with self._named():
            for row in self._db.execute("SELECT * FROM units WHERE position >= 0 ORDER BY position, key"):
                yield self._unit(row)

    def fits(self) -> list[tuple[str, str, Path]]:
        """Plate, channel and file of every illumination function; empty where the ledger keeps none."""
        with self._named():
            if not self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'fits'").fetchone():
                return []
            rows = self._db.execute("SELECT plate, channel, path FROM fits ORDER BY plate, channel, path").fetchall()
        return [(row["plate"] or "", row["channel"] or "", self._inside(row["path"])) for row in rows]

    def _unit(self, row: sqlite3.Row) -> Unit:
        names = set(row.keys())
        texts: dict[str, Any] = {
            name: row[name] or ""
            for name in ("study", "plate", "well", "site", "state", "reason", "step", "message", "remedy", "error_id")
            if name in names
        }
        numbers: dict[str, Any] = {
            name: row[name] or 0 for name in ("time", "z", "rows", "bytes", "finished") if name in names
        }
        return Unit(
            row["key"], row["position"], **texts, **numbers,
            part=self._inside(row["part"]) if row["part"] else None,
            qc=_mapping(row["qc"]), annotation=_mapping(row["annotation"]), seconds=_mapping(row["seconds"]),
        )  # fmt: skip

    def _inside(self, relative: str) -> Path:
        pure = PurePosixPath(relative)
        if pure.is_absolute() or ".." in pure.parts:
            raise HostileError(f"{self._path} names {relative!r}, outside the run folder", remedy="do not open it")
        return self.folder / pure

    def _check_version(self) -> None:
        with self._named():
            meta = self.meta()
        text = meta.get("schema_version", "")
        if not text.isdigit() or int(text) > LEDGER_VERSION:
            raise LedgerError(
                f"{self._path} has schema {text or 'unknown'}, this version reads up to {LEDGER_VERSION}",
                remedy=f"made by {meta.get('made_by', 'a newer phenostream')}: install that version or a later one",
            )

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise LedgerError(f"{self._path} cannot be read: {error}", remedy="is it a run folder?") from error


def _connect(path: Path) -> sqlite3.Connection:
    address = path.resolve().as_uri()
    database = sqlite3.connect(f"{address}?mode=ro", uri=True, timeout=30)
    try:
        database.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        database.close()
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            raise
        # A ledger on read-only media: nobody can write it, so it needs no shared memory file beside it.
        return sqlite3.connect(f"{address}?immutable=1", uri=True)
    except sqlite3.DatabaseError:
        database.close()
        raise
    return database


def _mapping(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
