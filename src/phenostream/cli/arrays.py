"""Single files in and out, for the commands that work on one image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from phenostream import formats
from phenostream.cli.show import as_json
from phenostream.errors import NotFoundError, RecipeError, WrongShapeError
from phenostream.sources import open_store
from phenostream.values import Plane

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

_FORMATS = {".tif": "tiff", ".tiff": "tiff", ".png": "png"}


def read_image(path: Path) -> NDArray[Any]:
    """The first plane (Y, X) of a TIFF or PNG."""
    if not path.is_file():
        raise NotFoundError(f"no image at {path}", remedy="give the path of a TIFF or PNG file")
    return formats.read(open_store(str(path.parent)), Plane(path.name, _format(path)))


def read_channels(paths: Sequence[Path]) -> NDArray[Any]:
    """The planes of one image (C, Y, X), a file a channel. Raises WrongShapeError where they are not of one shape."""
    planes = [read_image(path) for path in paths]
    for path, plane in zip(paths, planes, strict=True):
        if plane.shape != planes[0].shape:
            raise WrongShapeError(
                f"{path.name} is {plane.shape}, {paths[0].name} {planes[0].shape}", remedy="give channels of one image"
            )
    return np.stack(planes)


def write_labels(path: Path, labels: NDArray[np.int32]) -> None:
    """A label image as 32-bit TIFF, or as 16-bit PNG where the numbers fit."""
    if _format(path) == "tiff":
        formats.tiff.write(path, labels)
    elif labels.max(initial=0) < 1 << 16:
        formats.png.write(path, labels.astype(np.uint16))
    else:
        raise RecipeError("more than 65,535 objects do not fit a PNG", remedy="write a .tif")


def read_scene(paths: Sequence[Path], command: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """An image (C, Y, X) of the files but the last, and the label image (Y, X) that the last is."""
    if len(paths) < 2:
        raise RecipeError(
            "an image and a label image are needed", remedy=f"phenostream {command} IMAGE LABELS --out TABLE"
        )
    return read_channels(paths[:-1]), read_image(paths[-1]).astype(np.int64)


def write_table(path: Path, table: pa.Table) -> None:
    """A table as Parquet or CSV, by suffix."""
    if path.suffix == ".csv":
        from pyarrow import csv  # noqa: PLC0415

        csv.write_csv(table, path)
    elif path.suffix == ".parquet":
        from pyarrow import parquet  # noqa: PLC0415

        parquet.write_table(table, path, compression="zstd", write_page_checksum=True)
    else:
        raise RecipeError(f"cannot tell the format of {path.name}", remedy="end it in .parquet or .csv")


def write_objects(path: Path, table: pa.Table, *, json_: bool) -> None:
    """A table with a row an object as :func:`write_table`, and a word of it on the screen."""
    write_table(path, table)
    if json_:
        as_json({"table": str(path), "objects": table.num_rows, "columns": table.num_columns})
    else:
        typer.echo(f"{table.num_rows} objects, {table.num_columns} columns in {path}")


def _format(path: Path) -> str:
    try:
        return _FORMATS[path.suffix.lower()]
    except KeyError:
        raise RecipeError(f"cannot tell the format of {path.name}", remedy="use .tif, .tiff or .png") from None
