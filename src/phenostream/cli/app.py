"""The commands: each parses, calls one function, and prints; heavy rooms are imported where they are needed."""

from __future__ import annotations

import dataclasses
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phenostream import __version__
from phenostream.cli import (
    embed,
    exits,
    models,
    pack,
    phenotypes,
    profiles,
    report,
    score,
    show,
    similarity,
    train,
    typed,
)
from phenostream.cli.options import NOTHING, Channels, Images, Json, Quiet, Schema, Settings, TableOut, group, words
from phenostream.cli.progress import bar, of_run
from phenostream.cli.show import as_json

if TYPE_CHECKING:
    from phenostream.stream import RunResult

app = group("phenostream", "Microscopy in, comparable numbers out, on the disk you have.")

RecipeFile = Annotated[Path, typer.Argument(help="Recipe (YAML).", show_default=False)]
RunFolder = Annotated[Path, typer.Argument(help="Run folder.", show_default=False)]
Overrides = Annotated[
    list[str], typer.Option("--set", metavar="STEP.KEY=VALUE", help="Override a setting; repeatable.")
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Where to write.", show_default=False)]
Workers = Annotated[int | None, typer.Option(help="Processes that compute; 0 is one a core.", show_default=False)]
Budget = Annotated[str | None, typer.Option(help="Disk for downloads, scratch and parts in progress: 500MB, 20GB.")]
Memory = Annotated[str | None, typer.Option(help="Memory cap of all workers together: 8GB.")]
Batch = Annotated[int | None, typer.Option("--batch-size", help="Units made visible at a time.", show_default=False)]


def _version(wanted: bool) -> None:  # noqa: FBT001  (typer's callback form)
    if wanted:
        typer.echo(f"phenostream {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    *, version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False
) -> None:
    pass


@app.command(
    epilog="\b\nExamples:\n  phenostream demo --out demo-run\n"
    "  phenostream demo --out demo-run --workers 1 --disk-budget 20MB"
)
def demo(
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder to make.")] = Path("demo-run"),
    workers: Workers = None,
    disk_budget: Budget = None,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Stream a small plate from a local web server into a table of cells and a report; no network, no data needed."""
    from phenostream.cli.demo import demo as run_demo  # noqa: PLC0415

    with bar("fields", of_run, quiet=quiet or json_) as progress:
        told = run_demo(out, overrides=_overrides(workers=workers, disk_budget=disk_budget), progress=progress)
    _end(told, json_=json_, expected_rejects=True)


@app.command(
    epilog="\b\nExamples:\n  phenostream plan study.yaml\n  phenostream plan study.yaml --set select.limit=100 --json"
)
def plan(recipe: RecipeFile, *, out: Out = None, set_: Overrides = NOTHING, json_: Json = False) -> None:
    """Print units, bytes to move, peak disk and an estimate of time, before a pixel moves."""
    from phenostream.stream import estimate  # noqa: PLC0415

    told = estimate(recipe, out, overrides=set_)
    as_json(dataclasses.asdict(told)) if json_ else show.estimate(told)


@app.command(
    epilog="\b\nExamples:\n  phenostream run study.yaml --out study-run --disk-budget 20GB\n"
    "  phenostream run study.yaml --out study-run            (again: does only what is left)\n"
    "  phenostream run study.yaml --set segment.model=classical --set select.limit=10\n"
    "  phenostream run study.yaml --out study-run --retry-rejected\n"
    "  phenostream run study.yaml --out study-run --scheduler tcp://head:8786   (a Dask cluster)"
)
def run(  # noqa: PLR0913
    recipe: RecipeFile,
    *,
    out: Out = None,
    set_: Overrides = NOTHING,
    workers: Workers = None,
    disk_budget: Budget = None,
    memory: Memory = None,
    batch_size: Batch = None,
    retry_rejected: Annotated[bool, typer.Option(help="Try rejected inputs again, too.")] = False,
    no_report: Annotated[bool, typer.Option("--no-report", help="Do not write report.html at the end.")] = False,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Compute on the workers of this Dask scheduler.", show_default=False),
    ] = None,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Do what a recipe says; run it again after any stop and it goes on where it was."""
    from phenostream.report import run as run_recipe  # noqa: PLC0415

    overrides = _overrides(workers=workers, disk_budget=disk_budget, memory=memory, batch_size=batch_size)
    retry = ("failed", "rejected") if retry_rejected else ("failed",)
    with _cluster(scheduler) as executor, bar("fields", of_run, quiet=quiet or json_) as progress:
        told = run_recipe(
            recipe, out, overrides=[*set_, *overrides], retry=retry, progress=progress, executor=executor,
            report=not no_report,
        )  # fmt: skip
    _end(told, json_=json_)


@app.command(
    epilog="\b\nExamples:\n  phenostream status study-run\n  phenostream status study-run --json | jq .waiting"
)
def status(
    run_folder: RunFolder,
    *,
    all_: Annotated[bool, typer.Option("--all", help="List every input without a part.")] = False,
    json_: Json = False,
) -> None:
    """One screen: done, running, failed by reason, left, disk of budget, rate, time left; and each failure's cause."""
    from phenostream.stream import failures  # noqa: PLC0415
    from phenostream.stream import status as status_of  # noqa: PLC0415

    told = status_of(run_folder)
    listed = failures(run_folder, None if all_ or json_ else 20)
    if json_:
        reasons = [{"state": state, "reason": reason, "count": n} for (state, reason), n in told.reasons.items()]
        plain = dataclasses.asdict(told) | {"reasons": reasons}
        as_json(plain | {"failures": [dataclasses.asdict(one) for one in listed]})
    else:
        show.status(told)
        show.failures(listed, told.rejected + told.failed)


@app.command(
    epilog="\b\nExamples:\n  phenostream verify study-run\n  phenostream verify study-run --repair\n"
    "  phenostream verify study-run --repair --recipe study.yaml --json"
)
def verify(
    run_folder: RunFolder,
    *,
    repair: Annotated[bool, typer.Option("--repair", help="Compute anew exactly what is missing or damaged.")] = False,
    recipe_: Annotated[
        Path | None, typer.Option("--recipe", help="In place of the one in run.json.", show_default=False)
    ] = None,
    json_: Json = False,
) -> None:
    """Hash every part and illumination model again, compare the ledger with itself, and name what is wrong."""
    from phenostream.cli.verify import act  # noqa: PLC0415

    told, sound = act(run_folder, mend=repair, recipe=recipe_, show=not json_)
    if json_:
        as_json(told)
    if not sound:
        raise typer.Exit(exits.FAULTY)


@app.command(
    epilog="\b\nExamples:\n  phenostream export study-run --format parquet --out cells.parquet\n"
    "  phenostream export study-run --format idrstream --out batches/ --batch-size 10\n"
    "  phenostream export study-run --format anndata --out cells.h5ad"
)
def export(
    run_folder: RunFolder,
    *,
    format_: Annotated[str, typer.Option("--format", "-f", help="parquet, csv, idrstream or anndata.")] = "parquet",
    out: Annotated[Path, typer.Option("--out", "-o", help="File, or folder for idrstream.", show_default=False)],
    batch_size: Annotated[int, typer.Option(help="Fields a batch_N.csv.gz (idrstream).")] = 10,
    json_: Json = False,
) -> None:
    """Write the cells of a run as one table that other tools open."""
    from phenostream.profiles import export as write  # noqa: PLC0415

    written = write(run_folder, format_, out, batch_size=batch_size)
    paths = [str(path) for path in (written if isinstance(written, list) else [written])]
    as_json({"written": paths}) if json_ else typer.echo("\n".join(paths))


@app.command(
    epilog="\b\nExamples:\n  phenostream segment nuclei.tif --out labels.tif\n"
    "  phenostream segment nuclei.png --out labels.png --diameter 27 --json\n"
    "  phenostream segment nuclei.tif --out labels.tif --model nuclei --set views=4\n"
    "  phenostream segment nuclei.tif --out labels.tif --package nuclei-training/package\n"
    "  phenostream segment dna.tif er.tif --channels DNA,ER --channel DNA --out labels.tif"
)
def segment(  # noqa: PLR0913  (options)
    images: Annotated[list[Path], typer.Argument(help="TIFF or PNG, one a channel.", show_default=False)],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Label image to write (.tif or .png).", show_default=False)],
    model: Annotated[
        str | None, typer.Option(help="Segmenter: classical, or nuclei with --package.", show_default=False)
    ] = None,
    package: Annotated[
        str | None, typer.Option(help="Model package: its name, or its folder.", show_default=False)
    ] = None,
    diameter: Annotated[float | None, typer.Option(help="Of a nucleus in pixels; estimated where not given.")] = None,
    channels: Channels = None,
    channel: Annotated[
        str | None, typer.Option(help="Of --channels (else 0, 1 ...); the first.", show_default=False)
    ] = None,
    set_: Settings = NOTHING,
    json_: Json = False,
) -> None:
    """Segment one image into a label image."""
    from phenostream.cli.arrays import read_channels, write_labels  # noqa: PLC0415
    from phenostream.objects import segment as find  # noqa: PLC0415

    told = typed.pairs(set_, what="--set") | ({"package": package} if package else {})
    labels = find(
        read_channels(images), model or ("nuclei" if package else "classical"), diameter,
        channels=words(channels), channel=channel, options=told,
    )  # fmt: skip
    write_labels(out, labels)
    count = int(labels.max(initial=0))
    as_json({"labels": str(out), "objects": count}) if json_ else typer.echo(f"{count} objects in {out}")


@app.command(
    epilog="\b\nExamples:\n  phenostream measure nuclei.tif labels.tif --out features.parquet\n"
    "  phenostream measure dna.tif gfp.tif labels.tif --channels DNA,GFP --out features.csv"
)
def measure(
    images: Images,
    *,
    out: TableOut,
    channels: Channels = None,
    families: Annotated[str | None, typer.Option(help="Feature families, comma separated.", show_default=False)] = None,
    json_: Json = False,
) -> None:
    """Measure every object of a label image."""
    from phenostream.cli.arrays import read_scene, write_objects  # noqa: PLC0415
    from phenostream.features import measure as measured  # noqa: PLC0415

    image, labels = read_scene(images, "measure")
    write_objects(out, measured(image, labels, words(channels), words(families)), json_=json_)


@app.command(
    epilog="\b\nExamples:\n  phenostream recipe --schema > recipe.schema.json     (for your editor)\n"
    "  phenostream recipe study.yaml --set seed=3            (resolved, with every default)"
)
def recipe(
    file: Annotated[Path | None, typer.Argument(help="Recipe to resolve.", show_default=False)] = None,
    *,
    schema: Schema = False,
    set_: Overrides = NOTHING,
) -> None:
    """Print a recipe with every default filled in, or the schema of all recipes."""
    import yaml  # noqa: PLC0415

    from phenostream import stream  # noqa: PLC0415

    if schema or file is None:
        as_json(stream.schema())
    else:
        typer.echo(yaml.safe_dump(stream.Recipe.load(file, set_).model_dump(mode="json"), sort_keys=False))


@app.command(
    epilog="\b\nExamples:\n  phenostream datasource register plate7 ./plate7\n  phenostream datasource check plate7"
)
def datasource(
    action: Annotated[str, typer.Argument(help="register or check.")],
    name: Annotated[str | None, typer.Argument(help="Its name.", show_default=False)] = None,
    folder: Annotated[Path | None, typer.Argument(help="Folder to register.", show_default=False)] = None,
    *,
    json_: Json = False,
) -> None:
    """Name a folder once with a content manifest; from then on a change in it is an error that names the files."""
    from phenostream.cli.datasources import act  # noqa: PLC0415

    as_json(act(action, name, folder), sort_keys=json_)


app.command(epilog=report.HELP)(report.report)
app.command(epilog=embed.EPILOG)(embed.embed)
app.command(epilog=train.EPILOG)(train.train)
app.command(epilog=score.EPILOG)(score.score)
app.command(epilog=pack.EPILOG)(pack.pack)
app.command(epilog=pack.UNPACK_EPILOG)(pack.unpack)
app.add_typer(profiles.app, name="profiles")
app.add_typer(phenotypes.app, name="phenotypes")
app.add_typer(similarity.app, name="similarity")
app.add_typer(models.app, name="models")


def _overrides(**settings: object) -> list[str]:
    return [f"stream.{key}={value}" for key, value in settings.items() if value is not None]


def _cluster(scheduler: str | None) -> Any:
    if scheduler is None:
        return nullcontext()
    from phenostream.stream.cluster import Dask  # noqa: PLC0415

    return closing(Dask(scheduler))


def _end(told: RunResult, *, json_: bool, expected_rejects: bool = False) -> None:
    """Print how a run ended, and say it in the exit code."""
    page = told.folder / "report.html"
    if json_:
        as_json(dataclasses.asdict(told) | {"report": str(page) if page.is_file() else None})
    else:
        show.result(told)
        if told.rejected + told.failed:
            from phenostream.stream import failures  # noqa: PLC0415

            show.failures(failures(told.folder, 10), told.rejected + told.failed)
        if page.is_file():
            typer.echo(f"report: {page.resolve()}")
    if told.interrupted:
        raise typer.Exit(exits.INTERRUPTED)
    if (told.rejected and not expected_rejects) or told.failed:
        raise typer.Exit(exits.INCOMPLETE)
