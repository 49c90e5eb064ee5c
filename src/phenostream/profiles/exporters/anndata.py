"""AnnData (``.h5ad``): features in ``X``, metadata in ``obs``, what each column is in ``var``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from phenostream import __version__
from phenostream.errors import MissingExtraError, NotFoundError
from phenostream.profiles.read import iter_profiles, profiles_schema, read_profiles
from phenostream.profiles.schema import CELL_ID, View, is_outline, pick
from phenostream.profiles.writing import replacing
from phenostream.values import Column, columns_of

if TYPE_CHECKING:
    from pathlib import Path

_CHUNK_ROWS = 4096


class Settings(BaseModel):
    """What ``X`` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    view: View = Field("features", description="features: all of them; model: without the positional ones")
    compression: str = Field("gzip", pattern="^(gzip|lzf)$", description="of X")


def write(run: Path, out: Path, settings: Settings) -> list[Path]:
    """``X`` (float32) is written part by part; only the metadata is held in memory.

    ``obsm["spatial"]`` holds the centroids (x, y), where Squidpy looks for them. Outlines stay behind: the format has
    no lists.

    Raises:
        MissingExtraError: anndata is not installed.
        NotFoundError: there is no feature.
    """
    anndata = _anndata()
    schema = profiles_schema(run)
    features = _features(schema, settings.view)
    if not features:
        raise NotFoundError(f"{run} has no features", remedy="is anything done yet?")
    obs = read_profiles(run, [field.name for field in schema if _is_obs(field, schema)])
    frame = obs.drop_columns([CELL_ID]).to_pandas(strings_to_categorical=True)
    frame.index = obs.column(CELL_ID).to_numpy().astype(str)
    made = anndata.AnnData(obs=frame, var=_var(features), uns={"phenostream": {"version": __version__}})
    made.obsm.update(_spatial(obs))
    with replacing(out) as temporary:
        made.write_h5ad(temporary)
        _write_matrix(temporary, run, features, obs.num_rows, settings.compression)
    return [out]


def _anndata() -> Any:
    try:
        import anndata  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise MissingExtraError.of("anndata", "profiles") from error
    return anndata


def _features(schema: pa.Schema, view: View) -> list[Column]:
    kept = set(pick(schema, None, "model" if view == "model" else "features")) if schema.names else set()
    return [column for column in columns_of(schema) if column.role == "feature" and column.name in kept]


def _is_obs(field: pa.Field[Any], schema: pa.Schema) -> bool:
    role = columns_of(pa.schema([schema.field(field.name)]))[0].role
    return role != "feature" and not is_outline(field)


def _var(features: list[Column]) -> Any:
    told = ("compartment", "family", "channel", "unit", "positional")
    columns = {name: [getattr(column, name) for column in features] for name in told}
    frame = pa.table(columns).to_pandas()
    frame.index = [column.name for column in features]
    return frame


def _spatial(obs: pa.Table) -> dict[str, Any]:
    x = next((name for name in obs.column_names if name.endswith("_Location_Center_X")), "")
    if not x:
        return {}
    places = [obs.column(name).to_numpy() for name in (x, f"{x[:-1]}Y")]
    return {"spatial": np.column_stack(places)}


def _write_matrix(path: Path, run: Path, features: list[Column], rows: int, compression: str) -> None:
    names = [column.name for column in features]
    chunks = (max(1, min(rows, _CHUNK_ROWS)), len(names))
    with h5py.File(path, "r+") as file:
        file.pop("X", None)
        matrix = file.create_dataset("X", (rows, len(names)), "f4", chunks=chunks, compression=compression)
        # The format's own words for a plain matrix.
        matrix.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        start, waiting = 0, []
        for table in iter_profiles(run, names):
            waiting.append(_dense(table))
            if sum(len(block) for block in waiting) >= _CHUNK_ROWS:
                start = _flush(matrix, start, waiting)
        _flush(matrix, start, waiting)


def _dense(table: pa.Table) -> Any:
    columns = [column.cast(pa.float32()).to_numpy() for column in table.columns]
    return np.column_stack(columns)


def _flush(matrix: Any, start: int, waiting: list[Any]) -> int:
    block = np.concatenate(waiting) if waiting else np.zeros((0, matrix.shape[1]), np.float32)
    matrix[start : start + len(block)] = block
    waiting.clear()
    return start + len(block)
