"""From measurements to rows: one table a field, every column saying what it is."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from phenostream import objects as rings
from phenostream.errors import WrongShapeError
from phenostream.profiles.schema import CELL_ID, IDENTITY, OBJECT_NUMBER
from phenostream.values import Column, cell_id, columns_of, with_columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from phenostream.values import Field, Objects


def rows(
    field: Field,
    objects: Objects,
    table: pa.Table,
    outlines: Sequence[NDArray[Any]] | None = None,
    *,
    annotations: Mapping[str, str] | None = None,
) -> pa.Table:
    """The profile rows of one field.

    Args:
        field: the image the objects lie in; its identity stands in every row.
        objects: labels (Y, X) and the model that made them.
        table: measurements, ``ObjectNumber`` first, one row an object, ascending label.
        outlines: (K, 2) points (y, x) in pixels from 0 an object, ascending label; None leaves them out.
        annotations: what the archive says of the field; the field's own annotation when None.

    Returns:
        One row an object: ``CellId``, ``ObjectNumber``, ``Metadata_Study``, ``_Plate``, ``_Well``, ``_Site``,
        ``_Frame`` (time + 1, as archives count) and ``_Z`` (z + 1), the annotations as ``Metadata_<key>`` in
        alphabetical order, the centroid ``<compartment>_Location_Center_X`` and ``_Y`` (float64, pixels from 0, x to
        the right), the columns of `table` with features as float32, and the outlines as two lists. Roles stand in the
        Arrow schema.

    Raises:
        WrongShapeError: `table` or `outlines` are not about these objects.
    """
    numbers = objects.numbers()
    _check(numbers, table, outlines)
    known = field.annotation if annotations is None else annotations
    parts = {
        CELL_ID: pa.array([cell_id(field.id, int(number), objects.model) for number in numbers], pa.string()),
        OBJECT_NUMBER: pa.array(numbers, pa.int64()),
        **_constants(field, known, len(numbers)),
        **_centres(objects),
    }
    described = columns_of(table.schema)
    measured = {column.name: _narrow(table, column) for column in described if column.name != OBJECT_NUMBER}
    _refuse_clash(parts, measured)
    drawn = _lists(objects.compartment, outlines)
    places = [Column(name, "metadata", objects.compartment, "Location", unit="px", positional=True)
              for name in (*_centre_names(objects), *drawn)]  # fmt: skip
    whole = pa.table({**parts, **measured, **drawn})
    told = [Column(name, "metadata") for name in parts if name not in _centre_names(objects)]
    return with_columns(whole, [*told, *places, *(column for column in described if column.name in measured)])


def field_json(field: Field) -> bytes:
    """Identity, channels and shape (C, Y, X) of a field as JSON: what stands beside the rows of its part.

    Reads the pixels where some are attached, for their shape alone.
    """
    told = {
        **asdict(field.id),
        "channels": [asdict(channel) for channel in field.channels],
        "pixel_size": field.pixel_size,
        "annotation": dict(field.annotation),
        "shape": list(field.read().shape) if field.pixels else None,
    }
    return json.dumps(told, sort_keys=True, ensure_ascii=False).encode()


def _check(numbers: NDArray[Any], table: pa.Table, outlines: Sequence[NDArray[Any]] | None) -> None:
    if OBJECT_NUMBER not in table.column_names:
        raise WrongShapeError(f"measurements without a column {OBJECT_NUMBER}")
    found = table.column(OBJECT_NUMBER).to_numpy()
    if not np.array_equal(found, numbers):
        raise WrongShapeError(
            f"{len(found)} measured rows for {len(numbers)} objects, or another order",
            remedy="measure the same labels that are compiled",
        )
    if outlines is not None and len(outlines) != len(numbers):
        raise WrongShapeError(f"{len(outlines)} outlines for {len(numbers)} objects")


def _constants(field: Field, annotations: Mapping[str, str], count: int) -> dict[str, Any]:
    own = field.id
    values: dict[str, Any] = dict(
        zip(IDENTITY, (own.study, own.plate, own.well, own.site, own.time + 1, own.z + 1), strict=True)
    )
    for key in sorted(annotations):
        # Identity is not the archive's to overrule; what it says stays visible beside it.
        values[f"{key}_annotated" if key in IDENTITY else key] = str(annotations[key])
    return {f"Metadata_{key}": _repeat(value, count) for key, value in values.items()}


def _repeat(value: str | int, count: int) -> Any:
    kind: Any = pa.int32() if isinstance(value, int) else pa.string()
    return pa.repeat(pa.scalar(value, kind), count)


def _centre_names(objects: Objects) -> tuple[str, str]:
    return f"{objects.compartment}_Location_Center_X", f"{objects.compartment}_Location_Center_Y"


def _centres(objects: Objects) -> dict[str, Any]:
    places = rings.centroids(objects.labels)
    x, y = _centre_names(objects)
    return {x: pa.array(places[:, 1], pa.float64()), y: pa.array(places[:, 0], pa.float64())}


def _narrow(table: pa.Table, column: Column) -> Any:
    values = table.column(column.name)
    if column.role == "feature" and pa.types.is_floating(values.type):
        return values.cast(pa.float32(), safe=False)
    return values


def _refuse_clash(parts: Mapping[str, Any], measured: Mapping[str, Any]) -> None:
    if both := sorted(parts.keys() & measured.keys()):
        raise WrongShapeError(f"measurements bring their own column {both[0]}", remedy="rename it")


def _lists(compartment: str, outlines: Sequence[NDArray[Any]] | None) -> dict[str, Any]:
    if outlines is None:
        return {}
    points = np.concatenate([np.zeros((0, 2), np.int64), *outlines])
    ends = np.cumsum([0, *(len(outline) for outline in outlines)])
    wide = points.size and np.abs(points).max() > np.iinfo(np.int16).max
    kind = pa.list_(pa.field("element", pa.int32() if wide else pa.int16()))  # the child's name that Parquet keeps
    return {
        f"{compartment}_Outline_{axis}": pa.ListArray.from_arrays(
            pa.array(ends, pa.int32()), pa.array(points[:, place], kind.value_type), type=kind
        )
        for axis, place in (("X", 1), ("Y", 0))
    }
