"""The one call: pixels and labels in, one row an object out."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from phenostream.errors import EmptyError
from phenostream.features.scene import Scene
from phenostream.features.settings import IN_VOLUMES, PUBLISHED, MeasureSettings
from phenostream.features.volumes.volume import Volume
from phenostream.values import Column, with_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pydantic import BaseModel

    from phenostream.features.registry import Family

    Step = tuple[str, Family, BaseModel]

_UNDEFINED = "phenostream.undefined"


def measure(
    image: NDArray[Any],
    labels: NDArray[Any] | Mapping[str, NDArray[Any]],
    channels: Sequence[str] | None = None,
    families: Sequence[str] | None = None,
    *,
    settings: MeasureSettings | None = None,
    compartment: str | None = None,
    threads: int = 1,
) -> pa.Table:
    """Measure every object of one field with CellProfiler's features.

    Args:
        image: pixels (Y, X) or (C, Y, X), or of a volume (Z, Y, X) or (C, Z, Y, X). Unsigned integers are divided by
            the largest value of their type, as CellProfiler does (uint8 by 255, uint16 by 65535); floats are taken as
            they are and should lie in 0..1.
        labels: (Y, X), or (Z, Y, X) for a volume: integers, 0 is background; numbers need not be consecutive and
            objects may touch. Or such labels of several compartments by name, ``{"Nuclei": ..., "Cells": ...}``, in
            which one number is one cell.
        channels: one name a channel; ``("DNA",)`` for one channel and ``Ch1``, ``Ch2`` ... for several by default.
        families: which families to measure; those of `settings` by default, and in volumes size and shape, intensity
            and texture.
        settings: families, their parameters and the compartment; the default gives the 157 published columns.
        compartment: first word of the column names (``Nuclei``); that of `settings` by default. Several compartments
            bring their names.
        threads: how many blocks of objects, or families, are measured at the same time; the result is the same bits
            for any number.

    Returns:
        One row an object by ascending label: ``ObjectNumber`` (int64, the label), then float64 columns named
        ``Nuclei_AreaShape_Area``, ``Nuclei_Intensity_MeanIntensity_DNA`` ...; each field's metadata says family,
        channel and unit (:func:`phenostream.values.columns_of`). Positions are in pixels from 0, the centre of the
        first pixel. NaN stands where an object does not define a feature; the schema's metadata counts such objects
        by family under ``phenostream.undefined``. With several compartments, the rows are those of the first, the
        columns of the others follow, NaN where they lack the object, and counts read ``Cells`` for objects that it
        lacks and ``Cells_texture`` for those that are there.

    Raises:
        WrongShapeError: image and labels do not fit, or a label is negative.
        WrongDtypeError: labels are not integers, or pixels are signed integers or complex.
        NotFiniteError: NaN or infinite pixels.
        ChannelMissingError: as many names as channels are needed, all different.
        TooLargeError: a label is over 2**31 - 1.
        RecipeError: an unknown family or parameter.
        EmptyError: no pixels, or no compartment.
    """
    if isinstance(labels, Mapping):
        return _joined(
            {
                name: measure(image, each, channels, families, settings=settings, compartment=name, threads=threads)
                for name, each in labels.items()
            }
        )
    chosen = settings or MeasureSettings()
    if families is not None:
        chosen = chosen.model_copy(update={"families": tuple(families)})
    if np.ndim(labels) == 3:
        return _measured(_for_volumes(chosen), Volume(image, labels, channels, threads=threads), chosen, compartment)
    return _measured(chosen.plan(), Scene(image, labels, channels, threads=threads), chosen, compartment)


def _for_volumes(chosen: MeasureSettings) -> list[Step]:
    if chosen.families == PUBLISHED:
        chosen = chosen.model_copy(update={"families": IN_VOLUMES})
    return chosen.plan(volumes=True)


def _measured(plan: list[Step], scene: Scene, chosen: MeasureSettings, compartment: str | None) -> pa.Table:
    blocks = _run(plan, scene)
    return _table(plan, scene, blocks, compartment or chosen.compartment)


def _joined(tables: Mapping[str, pa.Table]) -> pa.Table:
    """One table of several compartments: the rows of the first, each with what the others say of the same number."""
    if not tables:
        raise EmptyError("no compartment to measure", remedy="give labels, or a mapping of at least one")
    (_, first), *others = tables.items()
    numbers = first["ObjectNumber"].to_numpy()
    columns, fields, undefined = list(first.columns), list(first.schema), _undefined(first)
    for name, table in others:
        own = table["ObjectNumber"].to_numpy()
        known = np.isin(numbers, own)
        rows = np.searchsorted(own, numbers[known])
        for values, field in zip(table.columns[1:], list(table.schema)[1:], strict=True):
            wide = np.full(numbers.size, np.nan)
            wide[known] = values.to_numpy()[rows]
            columns.append(pa.chunked_array([wide]))
            fields.append(field)
        lacking = {name: int((~known).sum())} if not known.all() else {}
        undefined |= lacking | {f"{name}_{family}": count for family, count in _undefined(table).items()}
    return pa.table(columns, schema=pa.schema(fields)).replace_schema_metadata(_counted(undefined))


def _undefined(table: pa.Table) -> dict[str, int]:
    told: dict[str, int] = json.loads((table.schema.metadata or {}).get(_UNDEFINED.encode(), "{}"))
    return told


def _counted(undefined: Mapping[str, int]) -> dict[str, str]:
    return {_UNDEFINED: json.dumps(undefined)}


def warm(settings: MeasureSettings | None = None) -> None:
    """Compile what `settings` needs, or load it from numba's cache, by measuring a field of a few pixels.

    Called once before many processes start, it spares each of them the compiling (about half a minute, once a machine).
    """
    labels = np.zeros((48, 48), np.int32)
    labels[4:20, 4:20], labels[20:40, 4:30] = 1, 2
    image = np.add.outer(np.arange(48), np.arange(48)).astype(np.uint8)
    measure(np.stack([image, image.T + image]), labels, ("A", "B"), settings=settings)


def _run(plan: list[Step], scene: Scene) -> list[NDArray[np.float64]]:
    """Every family's numbers. One pool for all: whole fields first, as they take longest, then blocks of objects.

    What spreads its own work over the pool is asked from here, since a thread that waits for its own pool may wait for
    ever.
    """
    if scene.threads <= 1:
        return [module.compute(scene, settings) for _, module, settings in plan]
    with ThreadPoolExecutor(scene.threads) as scene.pool:
        borders = scene.prepare().blocks()
        parts = [scene.part(int(a), int(b)) for a, b in itertools.pairwise(borders)]
        found: dict[str, list[Future[NDArray[np.float64]]]] = {}
        for name, module, settings in sorted(plan, key=lambda step: _by_object(step[1])):
            if not _spreads(module):
                scenes = parts if _by_object(module) else [scene]
                found[name] = [scene.pool.submit(module.compute, each, settings) for each in scenes]
        spread = {name: module.compute(scene, settings) for name, module, settings in plan if _spreads(module)}
        joined = {name: np.vstack([future.result() for future in futures]) for name, futures in found.items()}
    return [(spread | joined)[name] for name, _, _ in plan]


def _spreads(module: Family) -> bool:
    return getattr(module, "SPREADS", False)


def _by_object(module: Family) -> bool:
    return getattr(module, "BY_OBJECT", False)


def _table(plan: list[Step], scene: Scene, blocks: list[NDArray[np.float64]], compartment: str) -> pa.Table:
    columns = [Column("ObjectNumber", role="metadata", unit="1")]
    arrays = [pa.array(scene.numbers)]
    undefined: dict[str, int] = {}
    for (name, module, settings), block in zip(plan, blocks, strict=True):
        for column, values in zip(module.columns(settings, scene.channels), block.T, strict=True):
            columns.append(replace(column, name=f"{compartment}_{column.name}", compartment=compartment))
            arrays.append(pa.array(np.ascontiguousarray(values)))
        undefined[name] = int(np.isnan(block).any(axis=1).sum())
    table = pa.table(arrays, names=[column.name for column in columns])
    counted = {family: count for family, count in undefined.items() if count}
    table = table.replace_schema_metadata(_counted(counted))
    return with_columns(table, columns)
