"""Values as text: one screen each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from phenostream.stream import Estimate, Failure, RunResult, Status

console = Console(highlight=False)
#: Rows that a list shows at most; --json has them all.
SHOWN = 20


def as_json(value: Any, *, sort_keys: bool = True) -> None:
    """One JSON value, for scripts."""
    typer.echo(json.dumps(value, indent=2, sort_keys=sort_keys, default=str))


def facts() -> Table:
    """An empty table of names and what is said of each."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    return table


def listing(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> Table:
    """Rows below the names of their columns."""
    table = Table(box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def first(columns: Iterable[str], rows: Sequence[Iterable[Any]]) -> None:
    """The first rows of a list, and how many more there are; nothing where there are none."""
    if not rows:
        return
    console.print(listing(columns, rows[:SHOWN]))
    if len(rows) > SHOWN:
        console.print(f"and {len(rows) - SHOWN:,} more: --json lists them all", style="dim")


def size(count: float) -> str:
    """Bytes in the unit a person would choose."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration(seconds: float) -> str:
    """Seconds in the unit a person would choose."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, _ = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


def estimate(told: Estimate) -> None:
    """What a run would do."""
    table = facts()
    table.add_row("units", f"{told.units:,} ({told.waiting:,} to do)")
    table.add_row("plates", f"{told.plates:,}")
    if told.unresolved:
        table.add_row("unresolved", f"{told.unresolved:,} will be rejected: {told.unresolved_example}")
    table.add_row("bytes to move", f"about {size(told.bytes_to_move)} ({told.bytes_basis})")
    table.add_row("peak disk", f"at most {size(told.peak_disk)} (the budget)")
    table.add_row("parts", f"about {size(told.part_bytes)}")
    table.add_row("time", f"about {duration(told.seconds)} with {told.workers} workers ({told.seconds_basis})")
    console.print(table)


def result(told: RunResult) -> None:
    """How a run ended."""
    text = f"{told.inputs:,} inputs = {told.done:,} done + {told.rejected:,} rejected + {told.failed:,} failed"
    console.print(text + (f" + {told.waiting:,} waiting" if told.waiting else ""))
    console.print(
        f"{told.rows:,} objects, {duration(told.seconds)}, disk in use at most {size(told.peak_disk)}", style="dim"
    )


def status(told: Status) -> None:
    """One screen."""
    table = facts()
    table.add_row("run", str(told.folder) + (f"  (process {told.pid} works on it)" if told.pid else ""))
    table.add_row("inputs", f"{told.inputs:,}")
    table.add_row("done", f"{told.done:,}  ({told.rows:,} objects)")
    for (state, reason), count in told.reasons.items():
        table.add_row(state, f"{count:,}  {reason}")
    table.add_row("left", f"{told.waiting:,}")
    table.add_row(
        "disk", f"{size(told.disk)} of {size(told.disk_budget)} in use, at most {size(told.peak_disk)} so far"
    )
    table.add_row("moved", size(told.bytes_moved))
    if told.rate:
        table.add_row("rate", f"{told.rate:,.0f} units an hour")
    if told.eta is not None:
        table.add_row("time left", duration(told.eta))
    if told.stages:
        table.add_row("seconds a unit", ", ".join(f"{stage} {value:.2f}" for stage, value in told.stages.items()))
    console.print(table)


def failures(told: list[Failure], total: int) -> None:
    """Each input that gave no part: where, in which step, why, and what to do."""
    if not told:
        return
    console.print("\nwithout a part:", style="bold")
    for one in told:
        place = " ".join(word for word in (one.plate, one.well) if word)
        console.print(
            f"{place} site {one.site} frame {one.frame}: {one.state}, {one.reason} (step {one.step}, id {one.id})"
        )
        console.print(Padding(one.message, (0, 0, 0, 4)), style="dim")
        if one.remedy:
            console.print(Padding(f"remedy: {one.remedy}", (0, 0, 0, 4)), style="dim")
    if total > len(told):
        console.print(f"and {total - len(told):,} more: phenostream status --all", style="dim")
