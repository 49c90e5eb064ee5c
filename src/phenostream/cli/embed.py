"""The command ``embed``: an image and its labels become one row of a model's numbers an object."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003  (typer reads it)
from typing import Annotated, Any

import typer

from phenostream.errors import RecipeError

EPILOG = (
    "\b\nExamples:\n  phenostream embed nuclei.tif labels.tif --out embedding.parquet\n"
    "  phenostream embed dna.tif gfp.tif labels.tif --channels DNA,GFP --out embedding.parquet\n"
    "  phenostream embed nuclei.tif labels.tif --crops mask=true --crops box=object --out embedding.csv\n"
    "  phenostream embed nuclei.tif labels.tif --model efficientnet/ --out deepprofiler.parquet"
)


def embed(
    images: Annotated[
        list[Path], typer.Argument(help="One image a channel, then the label image.", show_default=False)
    ],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Table to write: .parquet or .csv.", show_default=False)],
    model: Annotated[str, typer.Option(help="A model package: its name, or its folder.")] = "cellnet",
    channels: Annotated[str | None, typer.Option(help="Channel names, comma separated.", show_default=False)] = None,
    crops: Annotated[
        list[str],
        typer.Option("--crops", metavar="KEY=VALUE", help="How crops are made, if not as the model's; repeatable."),
    ] = [],  # noqa: B006
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON value for scripts.")] = False,
) -> None:
    """Embed every object of a label image: what a model sees in its crop."""
    import numpy as np  # noqa: PLC0415

    from phenostream.cli.arrays import read_image, write_table  # noqa: PLC0415
    from phenostream.features import embed_table  # noqa: PLC0415

    if len(images) < 2:
        raise RecipeError("an image and a label image are needed", remedy="phenostream embed IMAGE LABELS --out TABLE")
    *planes, labels = (read_image(path) for path in images)
    names = [name.strip() for name in channels.split(",")] if channels else None
    table = embed_table(np.stack(planes), labels.astype(np.int64), names, settings=_settings(model, crops, device))
    write_table(out, table)
    told = {"table": str(out), "objects": table.num_rows, "columns": table.num_columns}
    text = f"{table.num_rows} objects, {table.num_columns} columns in {out}"
    typer.echo(json.dumps(told, indent=2, sort_keys=True) if json_ else text)


def _settings(model: str, crops: list[str], device: str) -> Any:
    import yaml  # noqa: PLC0415
    from pydantic import ValidationError  # noqa: PLC0415

    from phenostream.features import DeepSettings  # noqa: PLC0415

    given = {}
    for text in crops:
        key, equals, value = text.partition("=")
        if not equals:
            raise RecipeError(f"cannot read --crops {text!r}", remedy="write it as key=value")
        given[key.strip()] = yaml.safe_load(value)
    try:
        return DeepSettings.model_validate({"model": model, "crops": given, "device": device})
    except ValidationError as error:
        fault = error.errors()[0]
        raise RecipeError(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}") from error
