"""The command ``train``: a recipe becomes an experiment's folder with a model package."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (typer reads the annotations)
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phenostream.cli import exits
from phenostream.cli.options import NOTHING, Json, Quiet, Schema
from phenostream.cli.progress import bar, of_fit
from phenostream.cli.show import as_json, console, duration

if TYPE_CHECKING:
    from phenostream.training import Experiment

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
    ] = NOTHING,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
    schema: Schema = False,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Train what a recipe says; run it again after any stop and it goes on at the last checkpoint."""
    from phenostream import training  # noqa: PLC0415

    if schema:
        as_json(training.schema())
        return
    if recipe is None:
        raise typer.BadParameter("give a recipe, or --schema", param_hint="RECIPE")
    try:
        with bar("steps", of_fit, quiet=quiet or json_) as progress:
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
        as_json(plain | {"fit": dict(told.fit)})
        return
    fit = told.fit
    console.print(
        f"{fit['steps']:,} steps in {duration(fit['seconds'])} on {fit['device']},"
        f" {fit['samples_per_s']:,.1f} examples a second ({fit['stopped']})"
    )
    for name, value in told.metrics.items():
        console.print(f"  {name}: {value:.4g}")
    typer.echo(f"package: {package.resolve()}")
