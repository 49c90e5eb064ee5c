"""The figures at the top of a run's page, and its time and disk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from phenostream.report.words import count, duration, size

if TYPE_CHECKING:
    from phenostream.report.facts import Facts
    from phenostream.report.survey import Survey

_ORDER = ("fetch", "read", "correct", "segment", "measure", "embed", "write")


@dataclass(frozen=True, slots=True)
class Tile:
    """One headline figure, what it is, and where it comes from."""

    value: str
    label: str
    source: str


def title(facts: Facts) -> str:
    """Studies and plates; the folder's name where there are none."""
    names = [name for name in facts.plates if name]
    listed = ", ".join(names[:2]) + (f" and {len(names) - 2} more plates" if len(names) > 2 else "")
    return " · ".join([*facts.studies, *([listed] if listed else [])]) or facts.folder.resolve().name


def of_run(facts: Facts) -> list[Tile]:
    """Cells, fields, time and bytes, from the ledger."""
    done, seconds = facts.states["done"], facts.number("seconds")
    wells = sum(len(wells) for wells in facts.plates.values())
    made = [
        Tile(count(facts.cells), "cells", "sum of units.rows"),
        Tile(count(done), f"fields measured, of {facts.inputs:,}", "units.state"),
        Tile(f"{len(facts.plates):,} / {wells:,}", "plates / wells", "units.plate, units.well"),
    ]
    if done:
        made.append(Tile(f"{facts.cells / done:,.0f}", "cells a field", "units.rows, units that are done"))
        made.append(Tile(duration(sum(facts.seconds.values()) / done), "work a field", "mean of units.seconds"))
    if seconds:
        made.append(Tile(duration(seconds), "wall time", "meta.seconds"))
        made.append(Tile(f"{3600 * done / seconds:,.0f}", "fields an hour", "done / meta.seconds"))
    if facts.number("bytes_moved"):
        made.append(Tile(size(facts.number("bytes_moved") or 0), "read from the source", "meta.bytes_moved"))
    if facts.cells:
        made.append(Tile(size(facts.bytes), f"of tables, {facts.bytes / facts.cells:,.0f} B a cell", "units.bytes"))
    return [replace(tile, source=f"ledger.db: {tile.source}") for tile in made]


def stages(facts: Facts) -> list[tuple[str, float, float]]:
    """Stage, mean seconds a measured field, share of all work."""
    done, total = facts.states["done"], sum(facts.seconds.values())
    order = sorted(facts.seconds, key=lambda stage: (_ORDER.index(stage) if stage in _ORDER else len(_ORDER), stage))
    return [(stage, facts.seconds[stage] / done, facts.seconds[stage] / total) for stage in order if done and total]


def disk(facts: Facts) -> tuple[float, float] | None:
    """Peak and budget in bytes, None where the run did not say."""
    peak, budget = facts.number("peak_disk"), facts.number("disk_budget")
    return (peak, budget) if peak is not None and budget else None


def of_table(found: Survey) -> list[Tile]:
    """Rows, wells and columns, from the table itself."""
    plates = len({plate for plate, _ in found.wells})
    features = [one for one in found.columns if one.role == "feature"]
    usable = [one for one in features if not one.positional]
    families = {one.family for one in usable if one.family}
    places = f"{found.design.plate} {found.design.well}".strip()
    made = [
        Tile(count(found.rows), "rows", "number of rows"),
        Tile(f"{plates:,} / {len(found.wells):,}", "plates / wells", places or "no column"),
        Tile(count(len(features)), "features", "columns whose role is feature"),
    ]  # fmt: skip
    if families:
        made.append(Tile(count(len(families)), "families of features", "descriptions of the columns"))
    if found.wells and found.rows:
        made.append(Tile(f"{found.rows / len(found.wells):,.0f}", "rows a well", "rows / wells"))
    if found.design.controls:
        controls = int(found.controls(found.sample).sum())
        share = f"{100 * controls / max(len(found.sample.rows), 1):.0f} %"
        made.append(Tile(share, "of the sampled rows are controls", found.design.controls))
    return made
