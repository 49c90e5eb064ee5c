"""What a run's ledger says, gathered in one pass: counts, wells, rejects, times."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from phenostream.profiles import Manifest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from phenostream.profiles import Unit

STATES = ("done", "rejected", "failed", "waiting")
_LISTED = 500
_MESSAGE = 400


@dataclass(slots=True)
class Well:
    """Figures of one well, summed over its units."""

    states: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    cells: int = 0
    sums: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    seen: Counter[str] = field(default_factory=Counter)

    @property
    def inputs(self) -> int:
        """Units of this well, however they ended."""
        return self.states.total()

    def mean(self, name: str) -> float | None:
        """Mean over the measured fields of the quality figure `name`; ``cells`` counts cells a field."""
        if name == "cells":
            return self.cells / self.states["done"] if self.states["done"] else None
        return self.sums[name] / self.seen[name] if self.seen[name] else None


class Seen(NamedTuple):
    """What the choice of shown fields looks at."""

    part: Path
    rows: int
    focus: float | None
    plate: str
    well: str
    site: str
    frame: int
    key: str = ""
    qc: Mapping[str, float] = MappingProxyType({})


class Reject(NamedTuple):
    """One input without a part."""

    plate: str
    well: str
    site: str
    frame: int
    state: str
    step: str
    reason: str
    message: str
    remedy: str
    id: str


class Group(NamedTuple):
    """Rejects of one kind: how many, one message as an example, what to do."""

    state: str
    reason: str
    step: str
    inputs: int
    message: str
    remedy: str


@dataclass(slots=True)
class Facts:
    """A run in numbers. ``inputs == sum(states)``, asserted by the accounting shown."""

    folder: Path
    meta: dict[str, str]
    record: dict[str, Any]
    states: Counter[str] = field(default_factory=Counter)
    plates: dict[str, dict[str, Well]] = field(default_factory=dict)
    studies: dict[str, None] = field(default_factory=dict)
    figures: dict[str, None] = field(default_factory=dict)
    rejects: list[Reject] = field(default_factory=list)
    ranges: dict[str, tuple[list[float], list[float]]] = field(default_factory=dict)
    fields: list[Seen] = field(default_factory=list)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    cells: int = 0
    bytes: int = 0
    finished: tuple[float, float] = (0.0, 0.0)
    fits: list[tuple[str, str, Path]] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)
    _groups: dict[tuple[str, str, str], Group] = field(default_factory=dict)

    @property
    def inputs(self) -> int:
        """Planned units."""
        return self.states.total()

    @property
    def unmeasured(self) -> int:
        """Inputs that were rejected or failed."""
        return self.states["rejected"] + self.states["failed"]

    @property
    def groups(self) -> list[Group]:
        """Rejects by kind, the most frequent first."""
        return sorted(self._groups.values(), key=lambda group: (-group.inputs, group[:3]))

    @property
    def channels(self) -> list[str]:
        """Channels of which there is a mean intensity."""
        return [name.removeprefix("mean_") for name in self.figures if name.startswith("mean_")]

    def skip(self, path: Path, error: Exception) -> None:
        """Note that a file of the run could not be shown, and why; the page says so."""
        self.unread[path.relative_to(self.folder).as_posix()] = str(error)[:_MESSAGE]

    def number(self, name: str) -> float | None:
        """A number of the ledger's table `meta`, None where there is none."""
        try:
            return float(self.meta[name])
        except (KeyError, ValueError):
            return None

    def add(self, unit: Unit) -> None:
        """Count one unit."""
        self.states[unit.state] += 1
        if unit.study:
            self.studies[unit.study] = None
        well = self.plates.setdefault(unit.plate, {}).setdefault(unit.well, Well())
        well.states[unit.state] += 1
        if unit.state == "done":
            self._add_done(unit, well)
        elif unit.state != "waiting":
            self._add_reject(unit, well)
        if unit.finished:
            first, last = self.finished
            self.finished = (min(first or unit.finished, unit.finished), max(last, unit.finished))

    def _add_done(self, unit: Unit, well: Well) -> None:
        self.cells += unit.rows
        self.bytes += unit.bytes
        well.cells += unit.rows
        for name, value in unit.qc.items():
            if isinstance(value, int | float):
                self.figures[name] = None
                well.sums[name] += value
                well.seen[name] += 1
        for stage, seconds in unit.seconds.items():
            self.seconds[stage] += seconds
        if unit.part:
            focus = next((float(value) for name, value in unit.qc.items() if name.startswith("focus_")), None)
            place = (unit.plate, unit.well, unit.site, unit.time + 1)
            self.fields.append(Seen(unit.part, unit.rows, focus, *place, unit.key, unit.qc))
            self._add_ranges(unit)

    def _add_ranges(self, unit: Unit) -> None:
        for name in [name.removeprefix("low_") for name in unit.qc if name.startswith("low_")]:
            if f"high_{name}" in unit.qc:
                sides = self.ranges.setdefault(name, ([], []))
                for side, figure in zip(sides, ("low", "high"), strict=True):
                    side.append(float(unit.qc[f"{figure}_{name}"]))

    def _add_reject(self, unit: Unit, well: Well) -> None:
        well.reasons[unit.reason] += 1
        kind = (unit.state, unit.reason, unit.step)
        known = self._groups.get(kind)
        self._groups[kind] = (
            known._replace(inputs=known.inputs + 1)
            if known
            else Group(*kind, 1, unit.message[:_MESSAGE], unit.remedy[:_MESSAGE])
        )
        if len(self.rejects) < _LISTED:
            place = (unit.plate, unit.well, unit.site, unit.time + 1)
            told = (unit.reason, unit.message[:_MESSAGE], unit.remedy[:_MESSAGE], unit.error_id)
            self.rejects.append(Reject(*place, unit.state, unit.step, *told))


def gather(folder: Path) -> Facts:
    """Everything the page says of the run in `folder`, but for its cells and pictures.

    Raises:
        NotFoundError: not a run folder.
        LedgerError: damaged, or written by a newer version.
    """
    with Manifest(folder) as manifest:
        facts = Facts(folder, manifest.meta(), _record(folder / "run.json"), fits=manifest.fits())
        for unit in manifest.units():
            facts.add(unit)
    facts.fits = facts.fits or [("", path.stem[:12], path) for path in sorted((folder / "illumination").rglob("*.npz"))]
    return facts


def moment(seconds: float) -> str:
    """A time stamp in words, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC") if seconds else ""


def _record(path: Path) -> dict[str, Any]:
    """The content of run.json, empty where it is missing or torn: the page then says so."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
