"""The commands ``similarity``: activity, replicability and mechanisms of profiles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phenostream.cli import typed
from phenostream.cli.options import NOTHING, Json, Settings, group
from phenostream.cli.show import as_json

if TYPE_CHECKING:
    import pyarrow as pa

app = group("similarity", "Score profiles: mean average precision, replicates, mechanisms of action.")

Table = Annotated[Path, typer.Argument(help="Profiles: Parquet file or folder, or a run folder.", show_default=False)]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Table to write: .parquet or .csv.", show_default=False)]


@app.command(
    epilog="\b\nExamples:\n  phenostream similarity activity wells.parquet --set 'by=[Metadata_Compound]'"
    " --set 'controls={Metadata_Compound: DMSO}' --set 'within=[Metadata_Plate]' --out activity.csv\n"
    "  phenostream similarity activity wells.parquet --set 'by=[Metadata_Gene]' --json     (against all other genes)"
)
def activity(table: Table, *, out: Out = None, set_: Settings = NOTHING, json_: Json = False) -> None:
    """Mean average precision of perturbations against controls or against each other, with p-values and FDR."""
    from phenostream.benchmark.activity import ActivitySettings  # noqa: PLC0415
    from phenostream.benchmark.activity import activity as score  # noqa: PLC0415

    found = score(table, typed.settings(ActivitySettings, set_))
    _write(out, found.groups)
    if json_:
        as_json(found.told)
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
        as_json(told)
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
def mechanisms(table: Table, *, out: Out = None, set_: Settings = NOTHING, json_: Json = False) -> None:
    """Accuracy of the nearest treatment of another compound (NSC), and of another batch, too (NSCB)."""
    from phenostream.benchmark.mechanisms import MechanismSettings  # noqa: PLC0415
    from phenostream.benchmark.mechanisms import mechanisms as score  # noqa: PLC0415

    found = score(table, typed.settings(MechanismSettings, set_))
    _write(out, found.table())
    if json_:
        as_json(found.told)
        return
    for rule in ("nsc", "nscb"):
        if rule in found.told:
            told = found.told[rule]
            typer.echo(
                f"{rule.upper()} {told['accuracy']:.3f} of {told['asked']:,} treatments,"
                f" {told['answerable_accuracy']:.3f} of the {told['answerable']:,} that can be right"
            )


def _write(out: Path | None, table: pa.Table) -> None:
    if out is not None:
        from phenostream.cli.arrays import write_table  # noqa: PLC0415

        write_table(out, table)
