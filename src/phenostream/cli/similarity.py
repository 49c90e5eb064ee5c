"""The commands ``similarity``: activity, replicability and mechanisms of profiles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
import yaml
from pydantic import BaseModel, ValidationError

from phenostream.cli import exits
from phenostream.errors import RecipeError

if TYPE_CHECKING:
    import pyarrow as pa

app = typer.Typer(
    help="Score profiles: mean average precision, replicates, mechanisms of action.",
    epilog=exits.HELP,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Table = Annotated[Path, typer.Argument(help="Profiles: Parquet file or folder, or a run folder.", show_default=False)]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Table to write: .parquet or .csv.", show_default=False)]
Settings = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="A setting (YAML value); repeatable.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON value for scripts.")]
_NOTHING: list[str] = []
_Kind = TypeVar("_Kind", bound=BaseModel)


@app.command(
    epilog="\b\nExamples:\n  phenostream similarity activity wells.parquet --set 'by=[Metadata_Compound]'"
    " --set 'controls={Metadata_Compound: DMSO}' --set 'within=[Metadata_Plate]' --out activity.csv\n"
    "  phenostream similarity activity wells.parquet --set 'by=[Metadata_Gene]' --json     (against all other genes)"
)
def activity(table: Table, *, out: Out = None, set_: Settings = _NOTHING, json_: Json = False) -> None:
    """Mean average precision of perturbations against controls or against each other, with p-values and FDR."""
    from phenostream.benchmark.activity import ActivitySettings  # noqa: PLC0415
    from phenostream.benchmark.activity import activity as score  # noqa: PLC0415

    found = score(table, _settings(ActivitySettings, set_))
    _write(out, found.groups)
    if json_:
        _print(found.told)
    else:
        told = found.told
        typer.echo(
            f"{told['groups']:,} groups: mean average precision {told['mean_average_precision']:.3f},"
            f" {told['active_share']:.1%} active at a false discovery rate of {told['settings']['alpha']:g};"
            f" {told['groups_without_pair']:,} groups without a pair left out"
        )


@app.command(
    epilog="\b\nExamples:\n  phenostream similarity replicating wells.parquet --by Metadata_Compound\n"
    "  phenostream similarity replicating treatments.parquet --by Metadata_Mechanism --differ Metadata_Compound --json"
)
def replicating(
    table: Table,
    *,
    by: Annotated[str, typer.Option(help="Column that makes profiles replicates (or their mechanism).")],
    differ: Annotated[str | None, typer.Option(help="Column that a pair must not share.", show_default=False)] = None,
    draws: Annotated[int, typer.Option(min=100, help="Random sets behind the threshold.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the random sets.")] = 0,
    json_: Json = False,
) -> None:
    """Percent replicating (or, with --differ, matching): groups more alike than 95 % of random sets."""
    from phenostream.benchmark.replicability import replicability  # noqa: PLC0415

    told = replicability(table, by=by, differ=differ, draws=draws, seed=seed)
    if json_:
        _print(told)
    else:
        typer.echo(
            f"{told['share']:.1%} of {told['groups']:,} groups are above {told['threshold']:.3f};"
            f" {told['groups_without_pair']:,} groups without a pair left out"
        )


@app.command(
    epilog="\b\nExamples:\n  phenostream similarity mechanisms wells.parquet --set mechanism=Metadata_MOA"
    " --set compound=Metadata_Compound --set 'treatment=[Metadata_Compound, Metadata_Concentration]'\n"
    "  phenostream similarity mechanisms wells.parquet --set batch=Metadata_Week --out neighbours.csv --json"
)
def mechanisms(table: Table, *, out: Out = None, set_: Settings = _NOTHING, json_: Json = False) -> None:
    """Accuracy of the nearest treatment of another compound (NSC), and of another batch, too (NSCB)."""
    from phenostream.benchmark.mechanisms import MechanismSettings  # noqa: PLC0415
    from phenostream.benchmark.mechanisms import mechanisms as score  # noqa: PLC0415

    found = score(table, _settings(MechanismSettings, set_))
    _write(out, found.table())
    if json_:
        _print(found.told)
        return
    for rule in ("nsc", "nscb"):
        if rule in found.told:
            told = found.told[rule]
            typer.echo(
                f"{rule.upper()} {told['accuracy']:.3f} of {told['asked']:,} treatments,"
                f" {told['answerable_accuracy']:.3f} of the {told['answerable']:,} that can be right"
            )


def _settings(kind: type[_Kind], texts: list[str]) -> _Kind:
    given: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise RecipeError(f"cannot read the setting {text!r}", remedy="write it as key=value")
        given[key.strip()] = yaml.safe_load(value)
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RecipeError(f"{place}: {first['msg']}", remedy=f"settings: {', '.join(kind.model_fields)}") from error


def _write(out: Path | None, table: pa.Table) -> None:
    if out is not None:
        from phenostream.cli.arrays import write_table  # noqa: PLC0415

        write_table(out, table)


def _print(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, sort_keys=True, default=str))
