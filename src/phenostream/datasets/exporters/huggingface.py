"""Exporter ``huggingface``: Parquet as the Hugging Face hub shows it: a lossless PNG a channel, and all metadata.

Each channel is a column of the feature ``Image``: a struct of ``bytes`` and ``path``. Source: "Image feature" and
"Dataset structure" in the documentation of Hugging Face Datasets, https://huggingface.co/docs/datasets.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Literal

import imagecodecs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from phenostream.datasets.exporters import Example, Kind, Output
from phenostream.datasets.strategies import stable
from phenostream.datasets.tables import STORAGE, fields_of
from phenostream.errors import DamagedError, RecipeError, WrongDtypeError
from phenostream.formats.png import check_chunks, check_header

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from phenostream.datasets.packs import Pack

_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_DTYPES = {"string": "string", "int64": "int64", "double": "float64", "bool": "bool"}


class Settings(BaseModel):
    """How Parquet files are written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["huggingface"] = "huggingface"
    seed: int = Field(42, ge=0, lt=2**32, description="Of the order of sites: a keyed hash of their identity.")
    split: str = Field("dataset", description="Column whose values are the splits; without it, all is train.")
    sites_per_file: int = Field(500, ge=1, description="At most.")
    sites_per_group: int = Field(50, ge=1, description="Of a row group: what is read at once.")


def plan(pack: Pack, settings: Settings) -> list[Output]:
    """See `phenostream.datasets.exporters`.

    Raises WrongDtypeError for pixels that PNG does not hold, RecipeError where a channel is called as a column.
    """
    if pack.coding.dtype not in ("uint8", "uint16"):
        raise WrongDtypeError(f"sites of {pack.coding.dtype}", remedy="this format holds uint8 and uint16")
    if clash := {*pack.channels} & {*pack.table.column_names}:
        raise RecipeError(f"channel {min(clash)!r} is called as a column", remedy="rename the channel")
    fields = fields_of(pack.table)
    number = {field.id: index for index, field in enumerate(fields)}
    by = (settings.split,) if settings.split in pack.table.column_names else ()
    outputs = []
    for shelf in stable(fields, settings.seed, by=by):
        indices = [number[field.id] for field in shelf.fields]
        files = math.ceil(len(indices) / settings.sites_per_file)
        for file in range(files):
            part = tuple(indices[file * settings.sites_per_file : (file + 1) * settings.sites_per_file])
            split = shelf.name if by else "train"
            outputs.append(Output(f"data/{split}-{file:05d}-of-{files:05d}.parquet", part))
    return outputs


def write(path: Path, pack: Pack, output: Output, settings: Settings) -> None:
    """See `phenostream.datasets.exporters`."""
    told = pack.table.drop_columns(list(STORAGE)).replace_schema_metadata(None)
    told = told.cast(pa.schema([field.remove_metadata() for field in told.schema]))
    schema = pa.schema([*((name, _IMAGE) for name in pack.channels), *told.schema])
    schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": _features(schema)}})})
    with pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True) as writer:
        for start in range(0, len(output.indices), settings.sites_per_group):
            indices = list(output.indices[start : start + settings.sites_per_group])
            rows = told.take(pa.array(indices, pa.int64()))
            columns = _images(pack, indices, [str(name) for name in rows["site_id"].to_pylist()])
            writer.write_table(pa.table([*columns, *rows.columns], schema=schema))


def read(path: Path, kind: Kind) -> Iterator[Example]:
    """See `phenostream.datasets.exporters`. The row is what the file says. Raises DamagedError."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for batch in file.iter_batches(batch_size=16):
                for row in batch.to_pylist():
                    planes = [_decoded(row.pop(name), f"{name} of {path.name}") for name in kind.channels]
                    yield Example(np.stack(planes), row)
    except (pa.ArrowInvalid, OSError, KeyError, TypeError) as error:
        raise DamagedError(f"{path.name} is damaged: {error}", remedy="write the export again") from error


def _images(pack: Pack, indices: list[int], names: list[str]) -> list[pa.Array[Any]]:
    """A column of PNG files for each channel."""
    files: list[list[dict[str, Any]]] = [[] for _ in pack.channels]
    for index, name in zip(indices, names, strict=True):
        for column, channel, plane in zip(files, pack.channels, pack[index], strict=True):
            column.append({"bytes": imagecodecs.png_encode(plane, level=3), "path": f"{name}_{channel}.png"})
    return [pa.array(column, _IMAGE) for column in files]


def _features(schema: pa.Schema) -> Mapping[str, Any]:
    """What the hub is told of each column."""
    return {field.name: _feature(field.type) for field in schema}


def _feature(kind: Any) -> dict[str, Any]:
    if kind == _IMAGE:
        return {"_type": "Image"}
    if pa.types.is_fixed_size_list(kind):
        return {"feature": _feature(kind.value_type), "length": kind.list_size, "_type": "Sequence"}
    return {"dtype": _DTYPES.get(str(kind), str(kind)), "_type": "Value"}


def _decoded(image: Mapping[str, Any], what: str) -> NDArray[Any]:
    data = image["bytes"]
    check_header(data, what)
    check_chunks(data, what)
    found: NDArray[Any] = imagecodecs.png_decode(data)
    return found
