"""The command ``embed``: an image and its labels become one row of a model's numbers an object."""

from __future__ import annotations

from typing import Annotated

import typer

from phenostream.cli import typed
from phenostream.cli.options import NOTHING, Channels, Images, Json, TableOut, words

EPILOG = (
    "\b\nExamples:\n  phenostream embed nuclei.tif labels.tif --out embedding.parquet\n"
    "  phenostream embed dna.tif gfp.tif labels.tif --channels DNA,GFP --out embedding.parquet\n"
    "  phenostream embed nuclei.tif labels.tif --crops mask=true --crops box=object --out embedding.csv\n"
    "  phenostream embed nuclei.tif labels.tif --model efficientnet/ --out deepprofiler.parquet"
)


def embed(
    images: Images,
    *,
    out: TableOut,
    model: Annotated[str, typer.Option(help="A model package: its name, or its folder.")] = "cellnet",
    channels: Channels = None,
    crops: Annotated[
        list[str],
        typer.Option("--crops", metavar="KEY=VALUE", help="How crops are made, if not as the model's; repeatable."),
    ] = NOTHING,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    json_: Json = False,
) -> None:
    """Embed every object of a label image: what a model sees in its crop."""
    from phenostream.cli.arrays import read_scene, write_objects  # noqa: PLC0415
    from phenostream.features import DeepSettings, embed_table  # noqa: PLC0415

    image, labels = read_scene(images, "embed")
    given = {"model": model, "crops": typed.pairs(crops, what="--crops"), "device": device}
    table = embed_table(image, labels, words(channels), settings=typed.checked(DeepSettings, given))
    write_objects(out, table, json_=json_)
