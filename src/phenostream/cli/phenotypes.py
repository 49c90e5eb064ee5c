"""The commands ``phenotypes``: train classifiers of cells, judge them honestly, apply them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from phenostream.cli import typed
from phenostream.cli.options import NOTHING, Json, group
from phenostream.cli.show import as_json

app = group("phenotypes", "Classify cells by phenotype: study, train, apply.")

Cells = Annotated[Path, typer.Argument(help="Cells: Parquet file or folder, or a run folder.", show_default=False)]
Settings = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override (YAML value); repeatable.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Do not tell what is being done.")]


@app.command(
    epilog="\b\nExamples:\n  phenostream phenotypes run recipes/mitocheck.yaml --out mitocheck\n"
    "  phenostream phenotypes run recipes/mitocheck.yaml --out quick --set crops.most=30 --set 'splits=[image]'\n"
    "  phenostream phenotypes run study.yaml --out study --no-report --json"
)
def run(
    recipe: Annotated[Path, typer.Argument(help="Recipe (YAML) of the study.", show_default=False)],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.", show_default=False)],
    set_: Settings = NOTHING,
    no_report: Annotated[bool, typer.Option("--no-report", help="Draw no report.html and no figures.")] = False,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """From labelled crops or cells to scores under every split, figures, and a saved classifier."""
    from phenostream.benchmark.study import RESULTS, run_study  # noqa: PLC0415

    found = run_study(recipe, out, overrides=set_, progress=None if quiet or json_ else _progress)
    if not no_report:
        from phenostream.report import write  # noqa: PLC0415

        write(found.cells, out / "report.html", phenotypes=out / RESULTS, figures=out / "figures")
    if json_:
        as_json({"folder": str(out), **found.told})
        return
    for model, splits in found.told["models"].items():
        for by, told in splits.items():
            interval = told.get("interval", {})
            words = f" ({interval['low']:.3f} to {interval['high']:.3f})" if interval else ""
            typer.echo(f"{model}, {by}: weighted F1 {told['weighted_f1']:.3f}{words}, macro {told['macro_f1']:.3f}")
    for one in found.told["excluded"]:
        typer.echo(f"left out: {one['cells']:,} cells of {one['name']} ({one['reason']})")


@app.command(
    epilog="\b\nExamples:\n  phenostream phenotypes train cells.parquet --out classifier\n"
    "  phenostream phenotypes train cells.parquet --model elastic_net --set 'C=[0.1]' --label Class --out plain"
)
def train(
    cells: Cells,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the classifier.", show_default=False)],
    model: Annotated[str, typer.Option(help="discriminant, elastic_net, or a plug-in's.")] = "discriminant",
    label: Annotated[str, typer.Option(help="Column of the class.")] = "Metadata_Phenotype",
    by: Annotated[
        str, typer.Option(help="What training and held-out cells may not share: cell, image, well, plate.")
    ] = "image",
    set_: Settings = NOTHING,
    json_: Json = False,
) -> None:
    """Train one classifier on all labelled cells of a table."""
    from phenostream.profiles.phenotypes import labelled, save  # noqa: PLC0415
    from phenostream.profiles.phenotypes import train as fit  # noqa: PLC0415

    known = labelled(cells, label=label)
    classifier = fit(known, model, typed.pairs(set_), by=by)
    save(classifier, out)
    told: dict[str, Any] = {
        "classifier": str(out),
        "classes": list(classifier.classes),
        "excluded": known.excluded,
        **classifier.provenance,
    }
    if json_:
        as_json(told)
    else:
        typer.echo(
            f"{len(known):,} cells of {len(classifier.classes)} classes, {len(known.features):,} features: {out}"
        )
        for one in known.excluded["classes"]:
            typer.echo(f"left out: {one['cells']:,} cells of {one['name']} ({one['reason']})")


@app.command(
    epilog="\b\nExamples:\n  phenostream phenotypes apply classifier study-run --out called.parquet\n"
    "  phenostream phenotypes apply classifier cells.parquet --out called.parquet --calls-only --json"
)
def apply(
    classifier: Annotated[Path, typer.Argument(help="Folder of a classifier.", show_default=False)],
    cells: Cells,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Parquet file to write.", show_default=False)],
    calls_only: Annotated[bool, typer.Option("--calls-only", help="No column for every class's probability.")] = False,
    json_: Json = False,
) -> None:
    """Call every cell of a table, whatever its size."""
    from phenostream.profiles.phenotypes.applying import write_calls  # noqa: PLC0415
    from phenostream.profiles.phenotypes.package import load  # noqa: PLC0415

    told = write_calls(load(classifier), cells, out, each=not calls_only)
    if json_:
        as_json(told)
    else:
        typer.echo(f"{told['cells']:,} cells in {out}, {told['not_called']:,} not called (too few features)")
        for name, count in told["called"].items():
            typer.echo(f"  {count:>9,}  {name}")


def _progress(what: str, done: int, every: int) -> None:
    if done == every or 10 * done // every != 10 * (done - 1) // every:
        typer.echo(f"{what}: {done:,} of {every:,}", err=True)
