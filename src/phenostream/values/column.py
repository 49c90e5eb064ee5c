"""Columns that say what they are: no code ever picks features by a substring."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa

Role = Literal["metadata", "feature", "qc"]
_KEY = b"phenostream"


@dataclass(frozen=True, slots=True)
class Column:
    """What one column of a table is.

    Attributes:
        name: as it stands in the table.
        role: ``metadata``, ``feature`` or ``qc``.
        compartment: ``Nuclei``, ``Cells``, ``Cytoplasm``; empty where it does not apply.
        family: ``AreaShape``, ``Intensity``, ``Texture`` ...
        channel: channel name, or two joined by ``_`` for pairs.
        unit: ``px``, ``px^2``, ``rad``, ``deg``, ``intensity``, ``1`` (a ratio or count).
        positional: a place, orientation or object number: kept out of modelling views.
    """

    name: str
    role: Role = "feature"
    compartment: str = ""
    family: str = ""
    channel: str = ""
    unit: str = ""
    positional: bool = False


def with_columns(table: pa.Table, columns: Iterable[Column]) -> pa.Table:
    """`table` with each described column's description written into its Arrow field metadata."""
    import pyarrow as pa  # noqa: PLC0415  (heavy: importing the package stays quick)

    described = {column.name: column for column in columns}
    fields = [
        field.with_metadata({_KEY: _told(described[field.name])}) if field.name in described else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields)).replace_schema_metadata(table.schema.metadata)


def columns_of(schema: pa.Schema) -> Sequence[Column]:
    """The description of every column of `schema`; a column that does not say is metadata."""
    found = []
    for field in schema:
        told = (field.metadata or {}).get(_KEY)
        found.append(Column(field.name, **json.loads(told)) if told else Column(field.name, role="metadata"))
    return found


def _told(column: Column) -> bytes:
    """What differs from a plain feature: descriptions stand in every part's footer, which nothing compresses."""
    plain = asdict(Column(column.name))
    told = {key: value for key, value in asdict(column).items() if value != plain[key]}
    return json.dumps(told, sort_keys=True, separators=(",", ":")).encode()
