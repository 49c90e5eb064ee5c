"""Progress bars: one look, and what each long command tells in it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, ParamSpec

from phenostream.cli.show import console, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from phenostream import training
    from phenostream.stream import Progress

_Told = ParamSpec("_Told")
#: What is done, what there is to do, and details.
Figures = tuple[int, int, str]


@contextmanager
def bar(
    noun: str, figures: Callable[_Told, Figures], *, quiet: bool, detailed: bool = True
) -> Iterator[Callable[_Told, None] | None]:
    """A bar of so many `noun` with the time left, and details and the time gone; None where nobody looks.

    Args:
        noun: what is counted.
        figures: from what a command tells of its progress to what is done, what there is to do, and details.
        quiet: whether nobody wants a bar.
        detailed: whether there are details, and the time gone is of interest.
    """
    if quiet or not console.is_terminal:
        yield None
        return
    from rich import progress  # noqa: PLC0415

    details = (progress.TextColumn("{task.fields[detail]}"), progress.TimeElapsedColumn()) if detailed else ()
    columns = (progress.TextColumn("{task.description}"), progress.BarColumn(), progress.MofNCompleteColumn())
    with progress.Progress(*columns, *details, progress.TimeRemainingColumn(), console=console) as shown:
        task = shown.add_task(noun, total=None, detail="")

        def tell(*told: _Told.args, **more: _Told.kwargs) -> None:
            done, total, detail = figures(*told, **more)
            shown.update(task, completed=done, total=total, detail=detail)

        yield tell


def of_run(told: Progress) -> Figures:
    """Fields of a run: counts, and disk of budget."""
    lost = f", {told.rejected + told.failed} without a part" if told.rejected + told.failed else ""
    detail = f"{told.rows:,} objects{lost}, disk {size(told.disk)} of {size(told.disk_budget)}"
    return told.done + told.rejected + told.failed, told.total, detail


def of_fit(told: training.Progress) -> Figures:
    """Steps of a fit: loss, metrics and speed."""
    metrics = "".join(f", {name} {value:.3g}" for name, value in list(told.metrics.items())[:3])
    detail = f"epoch {told.epoch}/{told.epochs}, loss {told.loss:.4g}{metrics}, {told.samples_per_s:,.0f}/s"
    return told.step, told.steps, detail


def of_count(done: int, total: int) -> Figures:
    """Nothing but the count."""
    return done, total, ""
