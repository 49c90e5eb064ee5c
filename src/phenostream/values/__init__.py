"""The frozen values that flow through the house: bytes, fields, objects and columns."""

from phenostream.values.column import Column, Role, columns_of, with_columns
from phenostream.values.field import Channel, Container, Field, FieldId, Plane
from phenostream.values.objects import Objects, cell_id
from phenostream.values.store import Store

__all__ = [
    "Channel",
    "Column",
    "Container",
    "Field",
    "FieldId",
    "Objects",
    "Plane",
    "Role",
    "Store",
    "cell_id",
    "columns_of",
    "with_columns",
]
