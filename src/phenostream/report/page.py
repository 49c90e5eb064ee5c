"""The page: facts and pictures put into the template, written whole."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import yaml

from phenostream.profiles import replacing
from phenostream.report import colours
from phenostream.report.distributions import distributions
from phenostream.report.facts import STATES, gather, moment
from phenostream.report.illumination import shadings
from phenostream.report.montage import montage
from phenostream.report.plates import lines, number, plates

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phenostream.report.facts import Facts

MAX_BYTES = 6_000_000
_FIELDS = (24, 12, 6, 0)
_RECIPE_CHARACTERS = 60_000
_ORDER = ("fetch", "read", "correct", "segment", "measure", "write")
_STATE_WORDS = {
    "done": "measured",
    "rejected": "rejected: the input itself is at fault",
    "failed": "failed: a retry may help",
    "waiting": "waiting: not tried yet",
}


@dataclass(frozen=True, slots=True)
class Tile:
    """One headline figure, what it is, and where it comes from."""

    value: str
    label: str
    source: str


def write(run_folder: str | Path, out: str | Path | None = None) -> Path:
    """Write the report of a run: one HTML file that needs nothing else, not even a network.

    The same run gives the same bytes. At most 24 fields and 12 plates are drawn, and the file stays below 6 MB.

    Args:
        run_folder: the folder of a run, also one still going on.
        out: where to write; ``report.html`` in the run folder when None.

    Returns:
        The path written.

    Raises:
        NotFoundError: not a run folder, or no folder to write to.
        LedgerError: the ledger is damaged, or written by a newer version.
        DiskFullError: no room; an earlier report stays as it was.
    """
    folder = Path(run_folder)
    path = Path(out) if out is not None else folder / "report.html"
    page = render(folder)
    with replacing(path) as temporary:
        temporary.write_bytes(page)
    return path


def render(folder: Path) -> bytes:
    """The page as UTF-8 bytes; fewer fields are shown where 24 would make it too large."""
    facts = gather(folder)
    # Pictures first: what they cannot read must be known to the page that reports it.
    told: dict[str, Any] = {
        "distributions": distributions(facts),
        "shadings": shadings(facts),
        "plates": plates(facts),
        "plate_lines": lines(facts),
    }
    page = b""
    for count in _FIELDS:
        page = _page(facts, {**told, "fields": montage(facts, count)})
        if len(page) <= MAX_BYTES:
            break
    return page


def _page(facts: Facts, told: Mapping[str, Any]) -> bytes:
    template = _environment().get_template("report.html")
    text = template.render(
        facts=facts,
        title=_title(facts),
        tiles=_tiles(facts),
        states=[(state, facts.states[state], _STATE_WORDS[state]) for state in STATES],
        stages=_stages(facts),
        disk=_disk(facts),
        recipe=_recipe(facts.record.get("recipe")),
        channels=list(dict.fromkeys(channel for field in told["fields"] for channel in field.channels)),
        gradient=colours.gradient(),
        style=resources.files(__package__).joinpath("templates/report.css").read_text(encoding="utf-8"),
        **told,
    )
    # A plate name may hold what UTF-8 cannot: a page about the other plates is still owed.
    return text.encode("utf-8", errors="replace")


def _environment() -> jinja2.Environment:
    folder = resources.files(__package__).joinpath("templates")
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FunctionLoader(lambda name: folder.joinpath(name).read_text(encoding="utf-8")),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": _count, "size": size, "number": number, "moment": moment, "duration": duration}
    return environment


def size(value: float) -> str:
    """Bytes in SI units."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 1000 or unit == "GB":
            return f"{value:,.0f} {unit}" if unit == "B" else f"{value:,.1f} {unit}"
        value /= 1000
    return ""


def duration(seconds: float) -> str:
    """Seconds in the two largest units that matter."""
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    return f"{hours} h {left:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _count(value: int) -> str:
    return f"{value:,}"


def _title(facts: Facts) -> str:
    names = [name for name in facts.plates if name]
    listed = ", ".join(names[:2]) + (f" and {len(names) - 2} more plates" if len(names) > 2 else "")
    return " · ".join([*facts.studies, *([listed] if listed else [])]) or facts.folder.resolve().name


def _tiles(facts: Facts) -> list[Tile]:
    done, seconds = facts.states["done"], facts.number("seconds")
    wells = sum(len(wells) for wells in facts.plates.values())
    tiles = [
        Tile(_count(facts.cells), "cells", "sum of units.rows"),
        Tile(_count(done), f"fields measured, of {facts.inputs:,}", "units.state"),
        Tile(f"{len(facts.plates):,} / {wells:,}", "plates / wells", "units.plate, units.well"),
    ]
    if done:
        tiles.append(Tile(f"{facts.cells / done:,.0f}", "cells a field", "units.rows, units that are done"))
        tiles.append(Tile(duration(sum(facts.seconds.values()) / done), "work a field", "mean of units.seconds"))
    if seconds:
        tiles.append(Tile(duration(seconds), "wall time", "meta.seconds"))
        tiles.append(Tile(f"{3600 * done / seconds:,.0f}", "fields an hour", "done / meta.seconds"))
    if facts.number("bytes_moved"):
        tiles.append(Tile(size(facts.number("bytes_moved") or 0), "read from the source", "meta.bytes_moved"))
    if facts.cells:
        tiles.append(Tile(size(facts.bytes), f"of tables, {facts.bytes / facts.cells:,.0f} B a cell", "units.bytes"))
    return tiles


def _stages(facts: Facts) -> list[tuple[str, float, float]]:
    """Stage, mean seconds a measured field, share of all work."""
    done, total = facts.states["done"], sum(facts.seconds.values())
    order = sorted(facts.seconds, key=lambda stage: (_ORDER.index(stage) if stage in _ORDER else len(_ORDER), stage))
    return [(stage, facts.seconds[stage] / done, facts.seconds[stage] / total) for stage in order if done and total]


def _disk(facts: Facts) -> tuple[float, float] | None:
    """Peak and budget in bytes, None where the run did not say."""
    peak, budget = facts.number("peak_disk"), facts.number("disk_budget")
    return (peak, budget) if peak is not None and budget else None


def _recipe(recipe: Any) -> str:
    if not recipe:
        return ""
    text = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True, width=100)
    if len(text) > _RECIPE_CHARACTERS:
        return text[:_RECIPE_CHARACTERS] + f"{os.linesep}... the rest is in run.json"
    return text
