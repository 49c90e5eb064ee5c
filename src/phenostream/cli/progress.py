"""The progress bar of a run."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from phenostream.cli.show import console, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from phenostream.stream import Progress


@contextmanager
def bar(*, quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """A bar with counts, disk of budget and time left; None where nobody looks."""
    if quiet or not console.is_terminal:
        yield None
        return
    from rich import progress  # noqa: PLC0415

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[detail]}"),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=console) as shown:
        task = shown.add_task("fields", total=None, detail="")

        def tell(told: Progress) -> None:
            lost = f", {told.rejected + told.failed} without a part" if told.rejected + told.failed else ""
            detail = f"{told.rows:,} objects{lost}, disk {size(told.disk)} of {size(told.disk_budget)}"
            settled = told.done + told.rejected + told.failed
            shown.update(task, total=told.total, completed=settled, detail=detail)

        yield tell
