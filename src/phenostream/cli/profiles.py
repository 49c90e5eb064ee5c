"""The commands ``profiles``: operations on tables, one by one or as a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from phenostream.cli import typed
from phenostream.cli.options import NOTHING, Json, Settings, group
from phenostream.cli.show import as_json

app = group(
    "profiles",
    "Normalise, select, aggregate, merge: operations on tables of profiles, whatever their size.",
    epilog=None,
)

Table = Annotated[
    Path, typer.Argument(help="Run folder, Parquet file, or another program's table.", show_default=False)
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Parquet file to write.", show_default=False)]
Format = Annotated[str, typer.Option("--format", "-f", help="Reader of the table; auto recognises it.")]
Fitted = Annotated[
    Path | None, typer.Option(help="The .steps folder of an earlier run: apply what it fitted.", show_default=False)
]


@app.command(
    epilog="\b\nExamples:\n  phenostream profiles run profiles.yaml --out wells.parquet\n"
    "  phenostream profiles run profiles.yaml --out wells.parquet --set input.path=run --set profiles.0.method=mad"
)
def run(
    recipe: Annotated[Path, typer.Argument(help="Recipe (YAML): input, then the steps.", show_default=False)],
    *,
    out: Out,
    set_: Settings = NOTHING,
    fitted: Fitted = None,
    json_: Json = False,
) -> None:
    """Do the steps of a recipe and write the table that comes out; what they fitted lies beside it."""
    from phenostream.profiles.recipe import run_recipe  # noqa: PLC0415

    _tell(run_recipe(recipe, out, overrides=set_, fitted=fitted), json_=json_)


@app.command(
    name="import",
    epilog="\b\nExamples:\n  phenostream profiles import cellprofiler-output/ --out cells.parquet\n"
    "  phenostream profiles import plate.sqlite --out cells.parquet --set 'compartments=[Cells, Nuclei, Cytoplasm]'\n"
    "  phenostream profiles import outputs/features/ --format deepprofiler --out deep.parquet",
)
def import_(table: Table, *, out: Out, format_: Format = "auto", set_: Settings = NOTHING, json_: Json = False) -> None:
    """Turn another program's table into one Parquet file whose columns say what they are."""
    from phenostream.profiles.reading import read_foreign  # noqa: PLC0415
    from phenostream.profiles.tables import write_table  # noqa: PLC0415

    source = read_foreign(table, format_, **typed.pairs(set_))
    told: dict[str, Any] = {"table": str(out), "rows": write_table(source, out), **getattr(source, "told", {})}
    as_json(told, sort_keys=False) if json_ else typer.echo(f"{told['rows']:,} rows in {out}")


def _step(name: str, told: str, examples: str, *, fits: bool = False) -> None:
    """Register the command of one operation; one that `fits` can apply what was fitted before."""

    def command(
        table: Table, *, out: Out, format_: Format = "auto", set_: Settings = NOTHING, json_: Json = False
    ) -> None:
        _one(name, table, out, format_, set_, None, json_=json_)

    def fitting(
        table: Table,
        *,
        out: Out,
        format_: Format = "auto",
        set_: Settings = NOTHING,
        fitted: Fitted = None,
        json_: Json = False,
    ) -> None:
        _one(name, table, out, format_, set_, fitted, json_=json_)

    app.command(name, help=told, epilog=f"\b\nExamples:\n{examples}")(fitting if fits else command)


_step(
    "normalise",
    "Centre and scale every feature, by plate or over the whole screen, on controls or on all rows.",
    "  phenostream profiles normalise cells.parquet --out normal.parquet --set method=mad"
    " --set 'by=[Metadata_Plate]' --set 'controls={Metadata_Control: negative}'\n"
    "  phenostream profiles normalise new.parquet --out new-normal.parquet --fitted normal.parquet.steps",
    fits=True,
)
_step(
    "sphere",
    "Make features uncorrelated with variance one on the fitting rows (ZCA, PCA, and both on correlations).",
    "  phenostream profiles sphere wells.parquet --out white.parquet --set shrinkage=0.1\n"
    "  phenostream profiles sphere wells.parquet --out white.parquet --set 'controls={Metadata_Control: negative}'",
    fits=True,
)
_step(
    "tvn",
    "Take what controls vary by out of all rows, and line batches up by their controls (typical variation).",
    "  phenostream profiles tvn wells.parquet --out aligned.parquet --set 'by=[Metadata_Plate]'"
    " --set 'controls={Metadata_Control: negative}'",
    fits=True,
)
_step(
    "replicates",
    "Make features uncorrelated by what differs among replicates.",
    "  phenostream profiles replicates wells.parquet --out white.parquet"
    " --set 'by=[Metadata_Compound, Metadata_Concentration]'",
    fits=True,
)
_step(
    "compress",
    "Keep the logarithm of large values, so that a few extreme features do not decide.",
    "  phenostream profiles compress wells.parquet --out tame.parquet --set width=2",
)
_step(
    "select",
    "Leave out features that say nothing, say the same as others, or are mostly missing.",
    "  phenostream profiles select cells.parquet --out fewer.parquet\n"
    "  phenostream profiles select cells.parquet --out fewer.parquet --set 'rules=[missing, correlation]'"
    " --set correlation=0.95",
    fits=True,
)
_step(
    "aggregate",
    "One row a well (or whatever `by` names) from the rows of its cells.",
    "  phenostream profiles aggregate cells.parquet --out wells.parquet\n"
    "  phenostream profiles aggregate cells.parquet --out wells.parquet --set method=mean"
    " --set 'carry=[Metadata_Gene]'",
)
_step(
    "consensus",
    "One row a perturbation from its replicates.",
    "  phenostream profiles consensus wells.parquet --out drugs.parquet --set 'by=[Metadata_Compound]'"
    " --set method=modz",
)
_step(
    "annotate",
    "Join what a plate map says of each well.",
    "  phenostream profiles annotate cells.parquet --out told.parquet --set table=platemap.csv"
    " --set 'match={Metadata_Well: well_position}'",
)
_step(
    "merge",
    "Join two programs' rows about the same cells one to one, by where the cells lie.",
    "  phenostream profiles merge cp.parquet --out both.parquet --set table=dp.parquet --set limit=5",
)
_step(
    "distinct",
    "Leave out, or refuse, rows that stand twice.",
    "  phenostream profiles distinct cells.parquet --out once.parquet\n"
    "  phenostream profiles distinct cells.parquet --out once.parquet --set twice=first",
)
_step(
    "quality",
    "Leave out cells that are out of focus, saturated or debris, each with a counted reason.",
    "  phenostream profiles quality study-run --out good.parquet\n"
    "  phenostream profiles quality study-run --out good.parquet"
    " --set 'rules={debris: {column: Nuclei_AreaShape_Area, below: 40}}'",
)


@app.command(epilog="\b\nExamples:\n  phenostream profiles operations\n  phenostream profiles operations --schema")
def operations(
    *,
    schema: Annotated[bool, typer.Option("--schema", help="JSON Schema of recipes, for editors.")] = False,
    json_: Json = False,
) -> None:
    """What a recipe may name: every operation with its settings."""
    from phenostream.profiles.operating import operation, operation_names  # noqa: PLC0415
    from phenostream.profiles.recipe import recipe_schema  # noqa: PLC0415

    if schema:
        as_json(recipe_schema(), sort_keys=False)
        return
    told = {
        name: {key: field.description or "" for key, field in operation(name).Settings.model_fields.items()}
        for name in operation_names()
    }
    if json_:
        as_json(told, sort_keys=False)
        return
    for name, settings in told.items():
        typer.echo(name)
        for key, words in settings.items():
            typer.echo(f"  {key}: {words}")


def _one(name: str, table: Path, out: Path, format_: str, set_: list[str], fitted: Path | None, *, json_: bool) -> None:
    from phenostream.profiles.recipe import run_recipe  # noqa: PLC0415

    recipe = {"input": {"path": str(table.absolute()), "format": format_}, "profiles": [{name: typed.pairs(set_)}]}
    _tell(run_recipe(recipe, out, fitted=fitted), json_=json_)


def _tell(ran: Any, *, json_: bool) -> None:
    if json_:
        told = {"table": str(ran.out), "rows": ran.rows, "features": ran.features, "steps": list(ran.steps)}
        as_json(told, sort_keys=False)
        return
    for step in ran.steps:
        words = ", ".join(
            f"{key} {value}" for key, value in step.items() if key != "step" and value not in ({}, [], None)
        )
        typer.echo(f"{step['step']}: {words}")
    typer.echo(f"{ran.rows:,} rows, {ran.features:,} features in {ran.out}")
