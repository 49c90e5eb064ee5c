"""Fitted centres and scales: a table that can be saved, read again, and applied to other rows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from phenostream.errors import DamagedError, NotFoundError
from phenostream.profiles.groups import Groups
from phenostream.profiles.tables import Mapped, float_type, numbers, require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from phenostream.profiles.groups import Assigned
    from phenostream.profiles.tables import Source

_KEY = b"phenostream.fitted"
_COLUMNS = ("feature", "count", "centre", "scale")


@dataclass(frozen=True, slots=True)
class Scales:
    """Centre and scale of every feature in every group.

    Attributes:
        groups: the groups.
        names: the features.
        count: (groups, features) values that took part.
        centre: (groups, features), subtracted.
        scale: (groups, features), divided by; NaN makes the feature missing in that group.
    """

    groups: Groups
    names: list[str]
    count: NDArray[np.int64]
    centre: NDArray[np.float64]
    scale: NDArray[np.float64]

    def table(self, schema: pa.Schema) -> pa.Table:
        """One row a group and feature: the keys (typed as in `schema`), feature, count, centre, scale."""
        features = len(self.names)
        keys = {
            name: column.take(pa.array(np.repeat(np.arange(len(column)), features)))
            for name, column in self.groups.columns(schema).items()
        }
        made = pa.table(
            {
                **keys,
                "feature": pa.array(self.names * len(self.groups.keys), pa.string()),
                "count": self.count.ravel(),
                "centre": self.centre.ravel(),
                "scale": self.scale.ravel(),
            }
        )
        return made.replace_schema_metadata({_KEY: json.dumps({"by": self.groups.by}).encode()})

    @classmethod
    def read(cls, table: pa.Table) -> Scales:
        """What :meth:`table` wrote. Raises DamagedError where it is something else."""
        if missing := [name for name in _COLUMNS if name not in table.column_names]:
            raise DamagedError(f"no fitted scales: the column {missing[0]!r} is missing", remedy="fit anew")
        by = tuple(name for name in table.column_names if name not in _COLUMNS)
        names = [str(name) for name in dict.fromkeys(table.column("feature").to_pylist())]
        if not names or table.num_rows % len(names):
            raise DamagedError("fitted scales with groups of different features", remedy="fit anew")
        first = table.take(np.arange(0, table.num_rows, len(names)))
        keys = [tuple(row[name] for name in by) for row in first.select(list(by)).to_pylist()] if by else [()]
        shape = (len(keys), len(names))
        count, centre, scale = (table.column(name).to_numpy().reshape(shape) for name in _COLUMNS[1:])
        return cls(Groups(by, keys), names, count, centre, scale)


def mapped(source: Source, scales: Scales) -> Source:
    """The rows of `source` with the features of `scales` centred and scaled, when they are read."""
    schema = source.schema()
    require(schema, [*scales.names, *scales.groups.by])
    known = dict(zip(scales.names, range(len(scales.names)), strict=True))
    told = pa.schema([
        field.with_type(float_type(schema, field.name)) if field.name in known else field for field in schema
    ])  # fmt: skip

    def needs(names: Sequence[str]) -> Sequence[str]:
        # Keys that nobody asked for are read along only where some feature is.
        return list(dict.fromkeys([*names, *(scales.groups.by if known.keys() & set(names) else ())]))

    def change(table: pa.Table, names: Sequence[str]) -> pa.Table:
        codes = _codes(table, scales, needed=bool(known.keys() & set(names)))
        arrays = [
            _scaled(table.column(name), scales, known[name], codes, told.field(name).type) if name in known
            else table.column(name) for name in names
        ]  # fmt: skip
        return pa.table(arrays, schema=pa.schema([told.field(name) for name in names]))

    return Mapped(source, told, change, needs)


def dropped(
    source: Source, scales: Scales, assigned: Assigned, poor: NDArray[np.int64]
) -> tuple[Source, Scales, dict[str, Any]]:
    """Without the rows of the groups `poor`: source, scales, and what to tell of it."""
    rich = np.setdiff1d(np.arange(len(assigned.groups.keys)), poor)
    gone = {assigned.groups.keys[place] for place in poor}
    lost = int(assigned.sizes[poor].sum())
    schema, by = source.schema(), assigned.groups.by

    def change(table: pa.Table, names: Sequence[str]) -> pa.Table:
        groups = Groups(by)
        codes = groups.codes(table)
        keep = np.array([key not in gone for key in groups.keys], bool)
        return table.filter(pa.array(keep[codes])).select(list(names)) if len(codes) else table.select(list(names))

    def needs(names: Sequence[str]) -> Sequence[str]:
        return list(dict.fromkeys([*names, *by]))

    kept = Scales(
        Groups(by, [assigned.groups.keys[place] for place in rich]),
        scales.names, scales.count[rich], scales.centre[rich], scales.scale[rich],
    )  # fmt: skip
    told = {"dropped_rows": lost, "dropped_groups": [assigned.groups.label(int(one)) for one in poor]}
    return Mapped(source, schema, change, needs, rows=source.count() - lost), kept, told


def _codes(table: pa.Table, scales: Scales, *, needed: bool) -> NDArray[np.int32]:
    if not needed:
        return np.zeros(0, np.int32)
    codes = scales.groups.codes(table, grow=False)
    if (codes < 0).any():
        stray = Groups(scales.groups.by)
        stray.codes(table.filter(pa.array(codes < 0)))
        raise NotFoundError(
            f"nothing was fitted for {stray.label(0)}", remedy="fit on a table that has it, or fit over a larger group"
        )
    return codes


def _scaled(column: Any, scales: Scales, place: int, codes: NDArray[np.int32], kind: Any) -> Any:
    centre, scale = scales.centre[:, place], scales.scale[:, place]
    one = len(centre) == 1 or not len(codes) or (codes == codes[0]).all()
    if one:
        number = int(codes[0]) if len(codes) else 0
        values = (numbers(column) - centre[number]) / scale[number]
    else:
        values = (numbers(column) - centre[codes]) / scale[codes]
    return pa.array(values if pa.types.is_float64(kind) else values.astype(np.float32), kind)
