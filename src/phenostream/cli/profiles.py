"""The commands ``profiles``: operations on tables, one by one or as a recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from phenostream.errors import RecipeError

app = typer.Typer(
    help="Normalise, select, aggregate, merge: operations on tables of profiles, whatever their size.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Table = Annotated[
    Path, typer.Argument(help="Run folder, Parquet file, or another program's table.", show_default=False)
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Parquet file to write.", show_default=False)]
Settings = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="A setting (YAML value); repeatable.")]
Format = Annotated[str, typer.Option("--format", "-f", help="Reader of the table; auto recognises it.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON value for scripts.")]
Fitted = Annotated[
    Path | None, typer.Option(help="The .steps folder of an earlier run: apply what it fitted.", show_default=False)
]
_NOTHING: list[str] = []


@app.command(
    epilog="\b\nExamples:\n  phenostream profiles run profiles.yaml --out wells.parquet\n"
    "  phenostream profiles run profiles.yaml --out wells.parquet --set input.path=run --set profiles.0.method=mad"
)
def run(
    recipe: Annotated[Path, typer.Argument(help="Recipe (YAML): input, then the steps.", show_default=False)],
    *,
    out: Out,
    set_: Settings = _NOTHING,
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
def import_(
    table: Table, *, out: Out, format_: Format = "auto", set_: Settings = _NOTHING, json_: Json = False
) -> None:
    """Turn another program's table into one Parquet file whose columns say what they are."""
    from phenostream.profiles.reading import read_foreign  # noqa: PLC0415
    from phenostream.profiles.tables import write_table  # noqa: PLC0415

    source = read_foreign(table, format_, **_settings(set_))
    told: dict[str, Any] = {"table": str(out), "rows": write_table(source, out), **getattr(source, "told", {})}
    typer.echo(json.dumps(told, indent=2) if json_ else f"{told['rows']:,} rows in {out}")


@app.command(
    epilog="\b\nExamples:\n  phenostream profiles normalise cells.parquet --out normal.parquet --set method=mad"
    " --set 'by=[Metadata_Plate]' --set 'controls={Metadata_Control: negative}'\n"
    "  phenostream profiles normalise new.parquet --out new-normal.parquet --fitted normal.parquet.steps"
)
def normalise(
    table: Table,
    *,
    out: Out,
    format_: Format = "auto",
    set_: Settings = _NOTHING,
    fitted: Fitted = None,
    json_: Json = False,
) -> None:
    """Centre and scale every feature, by plate or over the whole screen, on controls or on all rows."""
    _one("normalise", table, out, format_, set_, fitted, json_=json_)


@app.command(
    epilog="\b\nExamples:\n  phenostream profiles sphere wells.parquet --out white.parquet --set shrinkage=0.1\n"
    "  phenostream profiles sphere wells.parquet --out white.parquet --set 'controls={Metadata_Control: negative}'"
)
def sphere(
    table: Table,
    *,
    out: Out,
    format_: Format = "auto",
    set_: Settings = _NOTHING,
    fitted: Fitted = None,
    json_: Json = False,
) -> None:
    """Make features uncorrelated with variance one on the fitting rows (ZCA, PCA, and both on correlations)."""
    _one("sphere", table, out, format_, set_, fitted, json_=json_)


@app.command(
    epilog="\b\nExamples:\n  phenostream profiles select cells.parquet --out fewer.parquet\n"
    "  phenostream profiles select cells.parquet --out fewer.parquet --set 'rules=[missing, correlation]'"
    " --set correlation=0.95"
)
def select(
    table: Table,
    *,
    out: Out,
    format_: Format = "auto",
    set_: Settings = _NOTHING,
    fitted: Fitted = None,
    json_: Json = False,
) -> None:
    """Leave out features that say nothing, say the same as others, or are mostly missing."""
    _one("select", table, out, format_, set_, fitted, json_=json_)


@app.command(
    epilog="\b\nExamples:\n  phenostream profiles aggregate cells.parquet --out wells.parquet\n"
    "  phenostream profiles aggregate cells.parquet --out wells.parquet --set method=mean --set 'carry=[Metadata_Gene]'"
)
def aggregate(
    table: Table, *, out: Out, format_: Format = "auto", set_: Settings = _NOTHING, json_: Json = False
) -> None:
    """One row a well (or whatever `by` names) from the rows of its cells."""
    _one("aggregate", table, out, format_, set_, None, json_=json_)


@app.command(
    epilog="\b\nExamples:\n  phenostream profiles consensus wells.parquet --out drugs.parquet"
    " --set 'by=[Metadata_Compound]' --set method=modz"
)
def consensus(
    table: Table, *, out: Out, format_: Format = "auto", set_: Settings = _NOTHING, json_: Json = False
) -> None:
    """One row a perturbation from its replicates."""
    _one("consensus", table, out, format_, set_, None, json_=json_)


@app.command(
    epilog="\b\nExamples:\n  phenostream profiles annotate cells.parquet --out told.parquet --set table=platemap.csv"
    " --set 'match={Metadata_Well: well_position}'"
)
def annotate(
    table: Table, *, out: Out, format_: Format = "auto", set_: Settings = _NOTHING, json_: Json = False
) -> None:
    """Join what a plate map says of each well."""
    _one("annotate", table, out, format_, set_, None, json_=json_)


@app.command(
    epilog="\b\nExamples:\n  phenostream profiles merge cp.parquet --out both.parquet --set table=dp.parquet"
    " --set limit=5"
)
def merge(table: Table, *, out: Out, format_: Format = "auto", set_: Settings = _NOTHING, json_: Json = False) -> None:
    """Join two programs' rows about the same cells one to one, by where the cells lie."""
    _one("merge", table, out, format_, set_, None, json_=json_)


@app.command(
    epilog="\b\nExamples:\n  phenostream profiles quality study-run --out good.parquet\n"
    "  phenostream profiles quality study-run --out good.parquet"
    " --set 'rules={debris: {column: Nuclei_AreaShape_Area, below: 40}}'"
)
def quality(
    table: Table, *, out: Out, format_: Format = "auto", set_: Settings = _NOTHING, json_: Json = False
) -> None:
    """Leave out cells that are out of focus, saturated or debris, each with a counted reason."""
    _one("quality", table, out, format_, set_, None, json_=json_)


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
        typer.echo(json.dumps(recipe_schema(), indent=2))
        return
    told = {
        name: {key: field.description or "" for key, field in operation(name).Settings.model_fields.items()}
        for name in operation_names()
    }
    if json_:
        typer.echo(json.dumps(told, indent=2))
        return
    for name, settings in told.items():
        typer.echo(name)
        for key, words in settings.items():
            typer.echo(f"  {key}: {words}")


def _one(name: str, table: Path, out: Path, format_: str, set_: list[str], fitted: Path | None, *, json_: bool) -> None:
    from phenostream.profiles.recipe import run_recipe  # noqa: PLC0415

    recipe = {"input": {"path": str(table.absolute()), "format": format_}, "profiles": [{name: _settings(set_)}]}
    _tell(run_recipe(recipe, out, fitted=fitted), json_=json_)


def _settings(texts: list[str]) -> dict[str, Any]:
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise RecipeError(f"cannot read the setting {text!r}", remedy="write it as key=value")
        found[key.strip()] = yaml.safe_load(value)
    return found


def _tell(ran: Any, *, json_: bool) -> None:
    if json_:
        told = {"table": str(ran.out), "rows": ran.rows, "features": ran.features, "steps": list(ran.steps)}
        typer.echo(json.dumps(told, indent=2, default=str))
        return
    for step in ran.steps:
        words = ", ".join(
            f"{key} {value}" for key, value in step.items() if key != "step" and value not in ({}, [], None)
        )
        typer.echo(f"{step['step']}: {words}")
    typer.echo(f"{ran.rows:,} rows, {ran.features:,} features in {ran.out}")
