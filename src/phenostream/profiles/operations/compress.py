"""Compress: pull long tails in, so that one feature that ran away does not decide what is alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from phenostream.profiles.operating import Features, OperationSettings, Outcome
from phenostream.profiles.tables import Mapped, feature_names, float_type, numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phenostream.profiles.tables import Source


class Settings(OperationSettings):
    """Where compression begins."""

    features: Features = Field(
        "model", description="model: features that are no places; all: every feature; or a list of names"
    )
    width: float = Field(1.0, gt=0, description="values well within it stay as they are, beyond it logarithms remain")


def operate(source: Source, settings: Settings, fitted: pa.Table | None = None) -> Outcome:
    """``width * arcsinh(x / width)`` of every feature: linear near 0, logarithmic far away, odd and invertible.

    Meant for normalised features, whose unit is a deviation of the controls. Nothing is fitted.

    Returns:
        The rows with the features replaced. Told: ``features``.

    Raises:
        NotFoundError: a feature that is not there.
    """
    del fitted
    schema = source.schema()
    known = set(feature_names(schema, settings.features))
    told = pa.schema([
        field.with_type(float_type(schema, field.name)) if field.name in known else field for field in schema
    ])  # fmt: skip

    def change(table: pa.Table, names: Sequence[str]) -> pa.Table:
        arrays = [
            _compressed(table, name, settings.width, told) if name in known else table.column(name) for name in names
        ]
        return pa.table(arrays, schema=pa.schema([told.field(name) for name in names]))

    return Outcome(Mapped(source, told, change, lambda names: names), {"features": len(known)})


def _compressed(table: pa.Table, name: str, width: float, told: pa.Schema) -> Any:
    values = width * np.arcsinh(numbers(table.column(name)) / width)
    return pa.array(values, told.field(name).type, from_pandas=True)
