"""Verify: is everything that the ledger names still what was written; repair: compute anew exactly what is not."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from phenostream.errors import (
    DamagedError,
    DiskFullError,
    LedgerError,
    NotFoundError,
    RecipeError,
)
from phenostream.profiles.places import is_mirror, run_folder
from phenostream.stream.depot import OWNER
from phenostream.stream.files import Files
from phenostream.stream.folder import locked, strays
from phenostream.stream.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from phenostream.stream.executor import Executor
    from phenostream.stream.files import File
    from phenostream.stream.recipe import Recipe
    from phenostream.stream.record import Progress
    from phenostream.stream.start import RunResult

_STARS = "**********"
_PLACE = ("study", "plate", "well", "site", "time", "z")
_SHELF = "SELECT path, sha256, bytes, rows FROM parts WHERE path BETWEEN ? AND ? ORDER BY path"
_OWNERS = f"SELECT part, key, {', '.join(_PLACE)}, rows, bytes, annotation FROM units WHERE part BETWEEN ? AND ?"  # noqa: S608


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is not as it should be, and whose it is.

    Attributes:
        kind: ``missing`` or ``damaged`` (a part or fit), ``foreign`` (a file that the ledger does not name), ``ledger``
            (the ledger contradicts itself or its parts), ``broken-ledger`` (SQLite itself finds it damaged).
        path: of the file, relative to the run folder.
        message: what is wrong.
        frame: counted from 1, as archives count; 0 where none.
        channel: of a fit.
        key: of the unit or fit; empty where it is neither's.
    """

    kind: str
    path: str
    message: str
    study: str = ""
    plate: str = ""
    well: str = ""
    site: str = ""
    frame: int = 0
    channel: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Verification:
    """What was looked at, and what was found.

    Attributes:
        units: units by state.
        parts: parts hashed.
        fits: illumination models hashed.
        bytes: bytes hashed.
        faults: everything that is wrong, in the order of the ledger; empty where all is well.
    """

    folder: Path
    units: Mapping[str, int]
    parts: int
    fits: int
    bytes: int
    seconds: float
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class Repair:
    """What was computed anew.

    Attributes:
        recomputed: keys of the units that were put back and computed again.
        refitted: illumination models that were put back.
        changed: units whose part is now of other bytes than before: a library or the input has changed.
        result: of the run that did it.
        after: a verification of the repaired folder.
    """

    recomputed: tuple[str, ...]
    refitted: int
    changed: tuple[str, ...]
    result: RunResult | None
    after: Verification


@dataclass(slots=True)
class _Tally:
    parts: int = 0
    fits: int = 0
    bytes: int = 0
    faults: list[Fault] = field(default_factory=list)


def verify(folder: str | Path) -> Verification:
    """Hash every part and fit of a run folder again and compare them, and the ledger with itself. Changes nothing.

    Raises:
        NotFoundError: it is no run folder.
        BusyError: a run works in it; the message gives its pid.
        LedgerError: the ledger is of a newer version.
        What stores raise where the parts lie in a depot that cannot be reached.
    """
    path = run_folder(folder)
    start = time.monotonic()
    tally = _Tally()
    counts: Mapping[str, int] = {}
    if not (path / "ledger.db").is_file():
        raise NotFoundError(f"{folder} is not a run folder: it has no ledger.db", remedy="give the folder of a run")
    with _held(path), _opened(path, tally) as ledger:
        if ledger and _is_whole(ledger, tally):
            counts = ledger.counts()
            tally.faults += _contradictions(ledger, path)
            files = Files(path)
            if files.astray(ledger):
                told = f"{ledger.get('parts_at')} does not say that it is this run's"
                tally.faults.append(Fault("ledger", OWNER, told))
            _check_parts(ledger, files, tally)
            _check_fits(ledger, files, tally)
            tally.faults += [
                Fault("foreign", one.relative_to(path).as_posix(), "nothing names this file")
                for one in strays(path, ledger.named_files)
            ]
            tally.faults += [
                Fault("foreign", one, f"nothing names this file in {ledger.get('parts_at')}")
                for one in files.strays(ledger.named_files)
            ]
    return Verification(
        path, counts, tally.parts, tally.fits, tally.bytes, time.monotonic() - start, tuple(tally.faults)
    )


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Keep runs out meanwhile; a folder that cannot be written has none."""
    with ExitStack() as stack:
        with suppress(DiskFullError):
            stack.enter_context(locked(path))
        yield


@contextmanager
def _opened(path: Path, tally: _Tally) -> Iterator[Ledger | None]:
    """The ledger, or a fault in its place where SQLite cannot read it."""
    try:
        ledger = Ledger(path)
    except LedgerError as error:
        if "schema" in error.message:
            raise
        tally.faults.append(Fault("broken-ledger", "ledger.db", error.message))
        yield None
        return
    with closing(ledger):
        yield ledger


def _is_whole(ledger: Ledger, tally: _Tally) -> bool:
    try:
        told = [str(row[0]) for row in ledger.query("PRAGMA integrity_check")]
    except LedgerError as error:
        told = [error.message]
    tally.faults += [Fault("broken-ledger", "ledger.db", line) for line in told if line != "ok"]
    return told == ["ok"]


def _contradictions(ledger: Ledger, path: Path) -> Iterator[Fault]:
    """Where units, parts and counts do not agree with each other."""
    columns = f"key, part, {', '.join(_PLACE)}"
    for key, part, *place in ledger.query(
        f"SELECT {columns} FROM units WHERE (state='done') != (part NOTNULL)"  # noqa: S608
        " OR (part NOTNULL AND part NOT IN (SELECT path FROM parts))"
    ):
        yield Fault("ledger", str(part or ""), "done without a part, or a part without done", **_place(place), key=key)
    for (part,) in ledger.query("SELECT path FROM parts EXCEPT SELECT part FROM units"):
        yield Fault("ledger", part, "a part that no unit has")
    for part, count in ledger.query(
        "SELECT part, count(*) FROM units WHERE part NOTNULL GROUP BY part HAVING count(*) > 1"
    ):
        yield Fault("ledger", part, f"{count} units share one part")
    planned = int(ledger.query("SELECT count(*) FROM units WHERE position >= 0")[0][0])
    if (told := ledger.get("inputs")) and told != str(planned):
        yield Fault("ledger", "ledger.db", f"{told} inputs were planned, {planned} units are there")
    if sorted(ledger.tally()) != sorted(ledger.counted_anew()):
        yield Fault("ledger", "ledger.db", "its tally is not what its units are")
    yield from _recipe_faults(ledger, path)


def _recipe_faults(ledger: Ledger, path: Path) -> Iterator[Fault]:
    told = ledger.get("recipe_hash")
    try:
        found = str(json.loads((path / "run.json").read_bytes())["recipe_hash"]) if told else told
    except (OSError, ValueError, KeyError, TypeError):
        found = "nothing"
    if found != told:
        yield Fault("ledger", "run.json", "it is not of the recipe that the ledger was made with")


def _check_parts(ledger: Ledger, files: Files, tally: _Tally) -> None:
    for (shelf,) in ledger.query("SELECT DISTINCT substr(path, 1, 8) FROM parts ORDER BY 1"):
        _check_shelf(ledger, files, shelf, tally)


def _check_shelf(ledger: Ledger, files: Files, shelf: str, tally: _Tally) -> None:
    """The parts of one folder of ``parts/``: a shelf at a time, memory does not grow with the run."""
    units: defaultdict[str, list[tuple[Any, ...]]] = defaultdict(list)
    span = shelf, shelf + chr(0x10FFFF)
    for part, *rest in ledger.query(_OWNERS, span):
        units[part].append(tuple(rest))
    parts = ledger.query(_SHELF, span)
    for (part, _, size, rows), told in zip(parts, files.compared([part[:3] for part in parts]), strict=True):
        tally.parts += 1
        owners = units.get(part, [])
        kind, message, data = told
        tally.bytes += len(data)
        if not kind:
            kind, message = "ledger", _disagreement(data, rows, size, owners)
        if message:
            for key, *place, _rows, _bytes, _annotation in owners or [("", "", "", "", "", -1, 0, 0, 0, "")]:
                tally.faults.append(Fault(kind, part, message, **_place(place), key=key))


def _check_fits(ledger: Ledger, files: Files, tally: _Tally) -> None:
    fits = ledger.query("SELECT key, plate, channel, path, sha256 FROM fits")
    wanted: list[File] = [(file, sha256, None) for *_, file, sha256 in fits]
    looked = zip(fits, files.compared(wanted), files.local_copies(wanted), strict=True)
    for (key, plate, channel, file, _), there, here in looked:
        tally.fits += 1
        kind, message, _ = there if there[1] else here
        tally.bytes += len(there[2])
        if message:
            tally.faults.append(Fault(kind, file, message, plate=plate, channel=channel, key=key))


def _disagreement(data: bytes, rows: int, size: int, owners: list[tuple[Any, ...]]) -> str:
    """What the ledger says otherwise than a part whose bytes are right; empty where they agree."""
    try:
        footer = pq.read_metadata(pa.BufferReader(data))
    except (pa.ArrowException, OSError) as error:
        return f"not Parquet: {error}"
    if footer.num_rows != rows:
        return f"the part has {footer.num_rows} rows, the ledger says {rows}"
    told = json.loads((footer.metadata or {}).get(b"phenostream.field", b"{}"))
    for _key, *place, unit_rows, unit_bytes, annotation in owners:
        if (unit_rows, unit_bytes) != (rows, size):
            return f"the unit has {unit_rows} rows and {unit_bytes} bytes, its part {rows} and {size}"
        wrong = [name for name, value in zip(_PLACE, place, strict=True) if told and told.get(name) != value]
        if wrong or (told and annotation and told.get("annotation") != json.loads(annotation)):
            return f"the ledger and the part name other fields: {', '.join(wrong) or 'annotation'}"
    return ""


def _place(values: list[Any]) -> dict[str, Any]:
    study, plate, well, site, frame, _z = values
    return {
        "study": study or "", "plate": plate or "", "well": well or "", "site": site or "", "frame": (frame or 0) + 1
    }  # fmt: skip


def repair(
    found: Verification,
    recipe: Recipe | Mapping[str, Any] | str | Path | None = None,
    *,
    progress: Callable[[Progress], None] | None = None,
    executor: Executor | None = None,
) -> Repair:
    """Put the units and fits at fault back to waiting, and run the recipe again.

    The ledger forgets first; what it does not name is swept away when the run begins: stopped at any moment, the next
    run goes on. A plate whose illumination model is at fault gets it fitted again, and one of its units shows that it
    is the same.

    Args:
        found: what :func:`verify` found.
        recipe: in place of the one in run.json; it must be the same but for where things lie.
        progress: called after each settled unit.
        executor: where to compute; by default processes on this machine.

    Raises:
        LedgerError: the ledger itself is broken, which no run can mend.
        NotFoundError, DamagedError: run.json is gone or broken; give the recipe.
    """
    from phenostream.stream.start import run  # noqa: PLC0415  (computing is heavy, verifying is not)

    if any(fault.kind == "broken-ledger" for fault in found.faults):
        raise LedgerError(
            f"{found.folder / 'ledger.db'} is damaged", remedy="restore it from a copy, or run into a new folder"
        )
    if not found.faults:
        return Repair((), 0, (), None, found)
    if is_mirror(found.folder):
        raise RecipeError(
            f"{found.folder} is only a copy of a ledger, for reading",
            remedy="repair in the run folder; if it is lost, copy ledger.db and run.json from the depot into a new one",
        )
    asked = _recipe(found.folder) if recipe is None else recipe
    fits = {fault.key for fault in found.faults if fault.key and fault.channel}
    with locked(found.folder), closing(Ledger(found.folder, create=True)) as ledger:
        before = dict(ledger.query("SELECT key, part FROM units"))
        again = _to_recompute(ledger, found, fits)
        ledger.forget(again, fits)
        ledger.count_anew()
        ledger.put(depot_clean="")  # what is now unnamed is to be swept from there, too
    result = run(asked, found.folder, progress=progress, executor=executor)
    with closing(Ledger(found.folder)) as ledger:
        now = dict(ledger.query("SELECT key, part FROM units"))
    changed = tuple(sorted(key for key in again if before.get(key) and now.get(key) != before[key]))
    return Repair(tuple(sorted(again)), len(fits), changed, result, verify(found.folder))


def _to_recompute(ledger: Ledger, found: Verification, fits: set[str]) -> set[str]:
    again = {fault.key for fault in found.faults if fault.key and not fault.channel}
    for part in {fault.path for fault in found.faults if fault.kind == "ledger" and not fault.key}:
        again |= {row[0] for row in ledger.query("SELECT key FROM units WHERE part=?", (part,))}
    plates = {fault.plate for fault in found.faults if fault.key in fits}
    for plate in plates:  # a model is fitted when a unit of its plate asks for it
        again |= {
            row[0]
            for row in ledger.query(
                "SELECT min(key) FROM units WHERE plate=? AND state='done' GROUP BY study", (plate,)
            )
        }
    return again


def _recipe(folder: Path) -> dict[str, Any]:
    path = folder / "run.json"
    try:
        told: dict[str, Any] = json.loads(path.read_bytes(), object_hook=_without_stars)["recipe"]
    except FileNotFoundError as error:
        raise NotFoundError(f"{path} is gone", remedy="give the recipe: --recipe FILE") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{path} holds no recipe", remedy="give the recipe: --recipe FILE") from error
    return told


def _without_stars(told: dict[str, Any]) -> dict[str, Any]:
    """Settings without starred credentials, which then come from the environment."""
    return {name: value for name, value in told.items() if value != _STARS}
