"""The tables that idrstream writes: a folder of ``batch_N.csv.gz`` with its columns in its order.

Which columns, in which order, and how they are filled, was read off its published outputs (WayScience/IDR_stream and
mitocheck_data). What differs: a batch of which nothing could be measured is a file with a header only, instead of no
file; outlines of more than 1,000 points are written in full, where numpy's text form shortened them.
"""

from __future__ import annotations

import re
import sys
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from phenostream.errors import NotFoundError, RecipeError
from phenostream.features.presets import MITOCHECK_157
from phenostream.profiles.exporters.csv import lines
from phenostream.profiles.manifest import Manifest
from phenostream.profiles.parts import load
from phenostream.profiles.read import profiles_schema
from phenostream.profiles.writing import compressed, replacing_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from phenostream.profiles.manifest import PartEntry, Unit

_BATCH = re.compile(r"batch_\d+\.csv\.gz")
_WELL = re.compile(r"([A-Z]{1,2})(\d+)")


class Settings(BaseModel):
    """How the run's rows become idrstream's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_size: int = Field(
        10, ge=1, description="fields a file; file N holds fields N*size to (N+1)*size-1 of the plan"
    )
    outlines: bool = Field(False, description="a column Metadata_Object_Outline: points (x, y) in numpy's text form")
    compartment: str = Field("Nuclei", description="the objects to write")
    channel: str = Field("DNA", description="the channel that stands for idrstream's DNA")
    plate_columns: int = Field(24, ge=1, description="columns of the plate, to number wells where no table did")


def write(run: Path, out: Path, settings: Settings) -> list[Path]:
    """One file a batch of planned fields, gzip level 1 without a clock: the same run gives the same bytes.

    Raises:
        NotFoundError: the run lacks some of the 157 features.
        RecipeError: `out` holds other files, or a well has no number.
    """
    names = _features(settings)
    _check(run, names)
    with Manifest(run) as manifest:
        units, parts = list(manifest.units()), {part.path: part for part in manifest.parts()}
    batches = [units[start : start + settings.batch_size] for start in range(0, len(units), settings.batch_size)]
    with replacing_folder(out, ours=lambda name: bool(_BATCH.fullmatch(name))) as folder:
        for number, batch in enumerate(batches):
            with (folder / f"batch_{number}.csv.gz").open("wb") as file, compressed(file, level=1) as stream:
                _batch(batch, parts, names, settings, stream)
    return [out / f"batch_{number}.csv.gz" for number in range(len(batches))]


def _features(settings: Settings) -> dict[str, str]:
    """Column of a part to published name."""
    channel = f"_{settings.channel}"
    return {f"{settings.compartment}_{name.replace('_DNA', channel)}": name for name in MITOCHECK_157}


def _check(run: Path, names: dict[str, str]) -> None:
    known = set(profiles_schema(run).names)
    if missing := [name for name in names if name not in known]:
        raise NotFoundError(
            f"{run} lacks {len(missing)} of the {len(names)} columns of idrstream, first {missing[0]}",
            remedy="measure with the default families, or name compartment and channel",
        )


def _batch(
    units: Sequence[Unit],
    parts: dict[Path, PartEntry],
    names: dict[str, str],
    settings: Settings,
    stream: IO[bytes],
) -> None:
    done = [(unit, parts[unit.part]) for unit in units if unit.state == "done" and unit.part in parts]
    lines(_table([], {}, names, settings, first=0), stream, header=True)
    first = 0
    for unit, part in done:
        rows = load(part.path, sha256=part.sha256)
        columns = [rows.column(name) if name in rows.column_names else pa.nulls(rows.num_rows) for name in names]
        lines(_table(columns, _leading(unit, rows, settings), names, settings, first=first), stream, header=False)
        first += rows.num_rows


def _table(
    columns: Sequence[Any], leading: dict[str, Any], names: dict[str, str], settings: Settings, *, first: int
) -> pa.Table:
    """Index, leading columns, features; without `columns` the same table with no rows."""
    heads = [*_LEADING, *(["Metadata_Object_Outline"] if settings.outlines else [])]
    if not columns:
        return pa.table({name: pa.nulls(0, pa.string()) for name in ["", *heads, *names.values()]})
    index = pa.array(range(first, first + len(columns[0])), pa.int64())
    return pa.table([index, *(leading[name] for name in heads), *columns], names=["", *heads, *names.values()])


_LEADING = (
    "Location_Center_X", "Location_Center_Y", "Metadata_Plate", "Metadata_Well", "Metadata_Site",
    "Metadata_Plate_Map_Name", "Metadata_DNA", "Metadata_Gene", "Metadata_Gene_Replicate",
)  # fmt: skip


def _leading(unit: Unit, rows: pa.Table, settings: Settings) -> dict[str, Any]:
    """Its own columns; what the catalog carried along under its names goes before what is derived."""
    told, frame = unit.annotation, unit.time + 1
    number = told.get("Well_Number") or str(_number(unit, settings.plate_columns))
    values = {
        "Metadata_Plate": unit.plate,
        "Metadata_Well": f"{number}_{frame}",
        "Metadata_Site": unit.site,
        "Metadata_Plate_Map_Name": told.get("Plate_Map_Name") or f"{unit.plate}_{number}",
        "Metadata_DNA": told.get("DNA") or f"{unit.plate}/{unit.plate}_{number}_{frame}.tif",
        "Metadata_Gene": told.get("Gene", ""),
        "Metadata_Gene_Replicate": told.get("Gene_Replicate") or "1",
    }
    made: dict[str, Any] = {name: pa.repeat(_scalar(value), rows.num_rows) for name, value in values.items()}
    for axis in "XY":
        made[f"Location_Center_{axis}"] = rows.column(f"{settings.compartment}_Location_Center_{axis}")
    if settings.outlines:
        made["Metadata_Object_Outline"] = _outlines(rows, settings.compartment)
    return made


def _scalar(value: str) -> Any:
    """Plain counts are written as numbers, as idrstream's are."""
    return pa.scalar(int(value), pa.int64()) if value.isdecimal() else pa.scalar(value, pa.string())


def _number(unit: Unit, columns: int) -> int:
    match = _WELL.fullmatch(unit.well)
    if match is None or not 1 <= int(match[2]) <= columns:
        raise RecipeError(
            f"well {unit.well!r} of {unit.plate} has no number on a plate of {columns} columns",
            remedy="set plate_columns to the plate's columns",
        )
    row = 0
    for letter in match[1]:
        row = row * 26 + ord(letter) - ord("A") + 1
    return (row - 1) * columns + int(match[2])


def _outlines(rows: pa.Table, compartment: str) -> Any:
    names = [f"{compartment}_Outline_{axis}" for axis in "XY"]
    if missing := [name for name in names if name not in rows.column_names]:
        raise NotFoundError(f"the run kept no outlines: no column {missing[0]}", remedy="run with output.outlines")
    pairs = zip(*(rows.column(name).to_pylist() for name in names), strict=True)
    return pa.array([np.array2string(np.column_stack(pair), threshold=sys.maxsize) for pair in pairs], pa.string())
