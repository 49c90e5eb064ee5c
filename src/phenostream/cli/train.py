"""The command ``train``: a recipe becomes an experiment's folder with a model package."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path  # noqa: TC003  (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phenostream.cli import exits
from phenostream.cli.show import console, duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from phenostream.training import Experiment, Progress

EPILOG = (
    "\b\nExamples:\n  phenostream train nuclei.yaml --out nuclei-training\n"
    "  phenostream train nuclei.yaml --out nuclei-training      (again: goes on at the last checkpoint)\n"
    "  phenostream train nuclei.yaml --set train.epochs=5 --set train.batch_size=auto\n"
    "  phenostream train --schema > training.schema.json        (for your editor)\n"
    "  torchrun --nproc-per-node 4 -m phenostream train nuclei.yaml --out nuclei-training"
)


def train(
    recipe: Annotated[Path | None, typer.Argument(help="Recipe (YAML).", show_default=False)] = None,
    *,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the experiment.", show_default=False)
    ] = None,
    set_: Annotated[
        list[str], typer.Option("--set", metavar="KEY.KEY=VALUE", help="Override a setting; repeatable.")
    ] = [],  # noqa: B006
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of recipes.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON value for scripts.")] = False,
) -> None:
    """Train what a recipe says; run it again after any stop and it goes on at the last checkpoint."""
    from phenostream import training  # noqa: PLC0415

    if schema:
        typer.echo(json.dumps(training.schema(), indent=2, sort_keys=True))
        return
    if recipe is None:
        raise typer.BadParameter("give a recipe, or --schema", param_hint="RECIPE")
    try:
        with _bar(quiet=quiet or json_) as progress:
            told = training.train(recipe, out, overrides=set_, device=device, progress=progress)
    except KeyboardInterrupt:
        typer.echo("interrupted; run it again to go on at the last checkpoint", err=True)
        raise typer.Exit(exits.INTERRUPTED) from None
    if told.package is not None:  # torchrun starts this command once a device, and one of them tells
        _tell(told, json_=json_)


def _tell(told: Experiment, *, json_: bool) -> None:
    package = told.folder / "package"
    if json_:
        plain: dict[str, Any] = {"folder": str(told.folder), "package": str(package), "metrics": dict(told.metrics)}
        typer.echo(json.dumps(plain | {"fit": dict(told.fit)}, indent=2, sort_keys=True, default=str))
        return
    fit = told.fit
    console.print(
        f"{fit['steps']:,} steps in {duration(fit['seconds'])} on {fit['device']},"
        f" {fit['samples_per_s']:,.1f} examples a second ({fit['stopped']})"
    )
    for name, value in told.metrics.items():
        console.print(f"  {name}: {value:.4g}")
    typer.echo(f"package: {package.resolve()}")


@contextmanager
def _bar(*, quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """A bar with loss, speed, metrics and time left; None where nobody looks."""
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
        bar = shown.add_task("steps", total=None, detail="")

        def tell(told: Progress) -> None:
            metrics = "".join(f", {name} {value:.3g}" for name, value in list(told.metrics.items())[:3])
            detail = f"epoch {told.epoch}/{told.epochs}, loss {told.loss:.4g}{metrics}, {told.samples_per_s:,.0f}/s"
            shown.update(bar, total=told.steps, completed=told.step, detail=detail)

        yield tell
