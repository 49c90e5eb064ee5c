"""``phenostream report``: a run or a table as one page, and its figures as files."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (typer reads the annotations)
from typing import Annotated

import typer

from phenostream.cli import typed
from phenostream.cli.options import Json  # noqa: TC001
from phenostream.cli.show import as_json

HELP = (
    "\b\nExamples:\n  phenostream report study-run\n  phenostream report study-run --out s.html --figures figures/\n"
    '  phenostream report cells.parquet --controls "Metadata_Control=negative control" --group Metadata_Dose\n'
    "  phenostream report study-run --phenotypes phenotypes.json --embedding umap"
)


def report(  # noqa: PLR0913  (one parameter an option)
    source: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_OR_TABLE",
            help="Run folder, a table (Parquet, CSV, CellProfiler, AnnData ...), or a packed screen.",
            show_default=False,
        ),
    ],
    *,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Where to write.", show_default=False)] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Folder for figures (PNG, SVG) and tables (CSV).", show_default=False)
    ] = None,
    phenotypes: Annotated[
        Path | None, typer.Option(help="phenotypes.json of a classifier, to be shown too.", show_default=False)
    ] = None,
    controls: Annotated[str, typer.Option(metavar="COLUMN=VALUE", help="Negative controls; more values with |.")] = "",
    group: Annotated[str, typer.Option(metavar="COLUMN", help="Treatments compared with the controls.")] = "",
    plate: Annotated[str, typer.Option(metavar="COLUMN", help="Column of the plate, if it has no usual name.")] = "",
    well: Annotated[str, typer.Option(metavar="COLUMN", help="Column of the well, if it has no usual name.")] = "",
    embedding: Annotated[str, typer.Option(help="Map of cells: auto (UMAP if installed), pca or umap.")] = "auto",
    seed: Annotated[int, typer.Option(help="Of sampling and of the map.")] = 0,
    json_: Json = False,
) -> None:
    """Write one HTML file that opens offline: plates by any column, fields, cells, effects, rejects, provenance."""
    from phenostream.profiles.places import run_folder  # noqa: PLC0415
    from phenostream.report import Settings, write  # noqa: PLC0415
    from phenostream.sources.depots import is_url  # noqa: PLC0415

    told = {"controls": controls, "group": group, "plate": plate, "well": well, "embedding": embedding, "seed": seed}
    settings = typed.checked(Settings, told, remedy="phenostream report --help", dashes="--")
    source = run_folder(source) if is_url(source) else source
    path = write(source, out, settings=settings, phenotypes=phenotypes, figures=figures)
    if json_:
        kept = sorted(str(one) for one in figures.iterdir()) if figures else []
        as_json({"report": str(path), "figures": kept})
    else:
        typer.echo(path)
