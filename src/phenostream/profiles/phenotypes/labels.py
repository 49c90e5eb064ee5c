"""Cells of known class, ready for a classifier: a matrix, labels, groups, and what was left out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from phenostream.errors import DamagedError, RecipeError
from phenostream.profiles.groups import as_text
from phenostream.profiles.schema import CELL_ID
from phenostream.profiles.statistics import matrix
from phenostream.profiles.tables import feature_names, open_table, require

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from phenostream.profiles.tables import Source

    Rows = NDArray[np.intp]

#: Cells that a class must have, to be in a training and in a test set.
LEAST = 2


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Cells of known class.

    Attributes:
        values: (n, features) float64; NaN is missing.
        features: their names.
        classes: sorted names of the classes.
        label: (n,) place of each cell's class in `classes`.
        groups: what cells share, by name of the split: ``image``, ``well``, ``plate``; (n,) text each.
        ids: (n,) identity of each cell.
        excluded: what was left out: ``classes`` (cells by class and reason), ``features`` (names by reason),
            ``unlabelled`` (rows without label).
    """

    values: NDArray[np.float64]
    features: tuple[str, ...]
    classes: tuple[str, ...]
    label: NDArray[np.intp]
    groups: Mapping[str, NDArray[Any]]
    ids: NDArray[Any]
    excluded: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.label)

    @property
    def truth(self) -> NDArray[Any]:
        """(n,) name of each cell's class."""
        return np.asarray(self.classes)[self.label]

    def rows(self, chosen: Rows) -> Labelled:
        """Only some of the cells; classes and features stay."""
        groups = {name: codes[chosen] for name, codes in self.groups.items()}
        return replace(self, values=self.values[chosen], label=self.label[chosen], groups=groups, ids=self.ids[chosen])


def labelled(
    where: Source | pa.Table | str | Path,
    *,
    label: str = "Metadata_Phenotype",
    groups: Mapping[str, Sequence[str]] | None = None,
    features: str | Sequence[str] = "model",
    exclude: Sequence[str] = (),
    least: int = LEAST,
) -> Labelled:
    """Read labelled cells from a table; memory holds these and one piece of it.

    Args:
        where: a table in memory, a Parquet file or folder, a run folder; rows without label (null, or an empty
            text) take no part, counted.
        label: column of the class.
        groups: columns that name what cells share, by split; image, well and plate where their columns are
            there when None.
        features: ``model``, ``all`` or names, as in :func:`phenostream.profiles.tables.feature_names`.
        exclude: classes to leave out.
        least: classes with fewer cells are left out, counted.

    Raises:
        NotFoundError: a column is missing.
        DamagedError: a cell id stands twice.
        RecipeError: fewer than two classes are left, or no feature.
    """
    source = open_table(where)
    names = feature_names(source.schema(), features if isinstance(features, str) else list(features))
    sharing = groups if groups is not None else _known(source.schema())
    keys = list(dict.fromkeys([label, *(name for columns in sharing.values() for name in columns)]))
    require(source.schema(), keys)
    has_id = CELL_ID in source.schema().names
    pieces = source.tables(list(dict.fromkeys([*keys, *([CELL_ID] if has_id else []), *names])))
    # Of a table of any size only the labelled rows are held.
    parts, rows = zip(*((_with_label(piece, label), piece.num_rows) for piece in pieces), strict=True)
    table = pa.concat_tables(parts)
    unlabelled = sum(rows) - table.num_rows
    truth = _texts(table, label)
    kept, excluded = _classes(truth, exclude, least)
    table, truth = table.filter(pa.array(kept)), truth[kept]
    ids = _ids(table, has_id=has_id)
    classes, codes = np.unique(truth, return_inverse=True)
    values, chosen, poor = _features(table, names)
    shared = {name: _joined(table, columns) for name, columns in sharing.items()}
    left_out = {"classes": excluded, "features": poor, "unlabelled": unlabelled}
    return Labelled(values, chosen, tuple(map(str, classes)), codes.ravel(), shared, ids, left_out)


def _known(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    image = ("Metadata_Image",) if "Metadata_Image" in schema.names else (
        "Metadata_Plate", "Metadata_Well", "Metadata_Site", "Metadata_Frame"
    )  # fmt: skip
    wanted = {"image": image, "well": ("Metadata_Plate", "Metadata_Well"), "plate": ("Metadata_Plate",)}
    return {name: columns for name, columns in wanted.items() if set(columns) <= set(schema.names)}


def _with_label(table: pa.Table, label: str) -> pa.Table:
    there = _texts(table, label) != ""
    # A slice of a table keeps all of it.
    return table if there.all() else table.take(np.flatnonzero(there))


def _classes(truth: NDArray[Any], exclude: Sequence[str], least: int) -> tuple[NDArray[np.bool_], list[dict[str, Any]]]:
    kept, excluded = np.ones(len(truth), bool), []
    for name, count in zip(*np.unique(truth, return_counts=True), strict=True):
        reason = "left out as asked" if name in exclude else f"fewer than {least} cells" if count < least else ""
        if reason:
            kept &= truth != name
            excluded.append({"name": str(name), "cells": int(count), "reason": reason})
    if len(np.unique(truth[kept])) < 2:
        raise RecipeError(
            f"fewer than two classes of {least} cells or more are left", remedy="label more cells, or exclude fewer"
        )
    return kept, excluded


def _features(
    table: pa.Table, names: Sequence[str]
) -> tuple[NDArray[np.float64], tuple[str, ...], dict[str, list[str]]]:
    values = matrix(table, names)
    there = ~np.isnan(values)
    empty = ~there.any(axis=0)
    low, high = np.where(there, values, np.inf).min(axis=0), np.where(there, values, -np.inf).max(axis=0)
    constant = ~empty & (low == high)
    kept = ~empty & ~constant
    poor = {
        reason: [name for name, one in zip(names, np.asarray(which).tolist(), strict=True) if one]
        for reason, which in (("no numbers", empty), ("constant", constant))
        if which.any()
    }
    if not kept.any():
        raise RecipeError(f"none of {len(names)} features varies", remedy="measure the cells first")
    return np.ascontiguousarray(values[:, kept]), tuple(np.asarray(names)[kept].tolist()), poor


def _ids(table: pa.Table, *, has_id: bool) -> NDArray[Any]:
    if not has_id:
        return np.arange(table.num_rows).astype(str)
    ids = _texts(table, CELL_ID)
    names, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise DamagedError(
            f"{(counts > 1).sum()} cell ids stand twice or more, first {names[counts > 1][0]}",
            remedy="a cell in training and test sets makes every figure too good: do the operation `distinct` first",
        )
    return ids


def _joined(table: pa.Table, columns: Sequence[str]) -> NDArray[Any]:
    parts = [_texts(table, name).tolist() for name in columns]
    return np.array(["/".join(row) for row in zip(*parts, strict=True)])


def _texts(table: pa.Table, name: str) -> NDArray[Any]:
    filled: Any = pc.fill_null(as_text(table.column(name)), "")
    return np.array(filled.to_pylist(), dtype=str)
