"""AnnData (``.h5ad``): ``X`` as features, ``obs`` as metadata, what ``var`` says of the columns."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from phenostream.errors import DamagedError, MissingExtraError
from phenostream.profiles.operating import Names, OperationSettings
from phenostream.profiles.roles import COMPARTMENTS, column_of
from phenostream.values import Column, with_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from phenostream.profiles.tables import Source

_ROWS = 16_384
_TOLD = ("compartment", "family", "channel", "unit", "positional")


class Settings(OperationSettings):
    """How names are read where ``var`` does not say what a column is."""

    compartments: Names = Field(COMPARTMENTS, description="first words of names that mean an object")


def recognises(path: Path) -> bool:
    """Whether it is an ``.h5ad`` file."""
    return path.is_file() and path.suffix == ".h5ad"


def read(path: Path, settings: Settings) -> Source:
    """One row an observation: its name as ``CellId``, ``obs`` as metadata, ``X`` as features, some rows at a time.

    Every column of ``X`` is a feature; compartment, family, channel, unit and positional come from ``var`` where this
    package wrote it, else from the names. ``obs`` is held in memory, ``X`` is not.

    Raises:
        MissingExtraError: anndata is not installed.
        DamagedError: not such a file, or ``X`` holds no numbers.
    """
    with _opened(path) as made:
        names = [str(name) for name in made.var_names]
        columns = _columns(made, names, settings)
        obs = pa.Table.from_pandas(made.obs, preserve_index=False).replace_schema_metadata(None)
        obs = obs.add_column(0, "CellId", pa.array([str(name) for name in made.obs_names], pa.string()))
        kind = np.dtype(getattr(made.X, "dtype", np.float64))
    if kind.kind not in "fiu" or len(set(names)) < len(names):
        raise DamagedError(f"{path}: X holds {kind}, or var has a name twice")
    plain = _unpacked(obs)
    described = with_columns(plain, [Column(name, "metadata") for name in plain.column_names])
    return _AnnData(path, described, tuple(columns), pa.float32() if kind == np.float32 else pa.float64())


@dataclass(frozen=True, slots=True)
class _AnnData:
    """The file, with its ``obs`` in memory."""

    path: Path
    obs: pa.Table
    columns: tuple[Column, ...]
    kind: Any

    def schema(self) -> pa.Schema:
        fields = [*self.obs.schema, *(pa.field(column.name, self.kind) for column in self.columns)]
        known = [Column(name, "metadata") for name in self.obs.column_names]
        return with_columns(pa.schema(fields).empty_table(), [*known, *self.columns]).schema

    def count(self) -> int:
        return self.obs.num_rows

    def tables(self, names: Sequence[str] | None = None) -> Iterator[pa.Table]:
        schema = self.schema()
        wanted = list(schema.names) if names is None else list(names)
        place = {column.name: index for index, column in enumerate(self.columns)}
        features = any(name in place for name in wanted)
        with _opened(self.path) as made:
            for start in range(0, max(self.obs.num_rows, 1), _ROWS):
                block = _dense(made.X[start : start + _ROWS]) if features else np.zeros((0, 0))
                rows = self.obs.slice(start, _ROWS)
                arrays: list[Any] = [
                    pa.array(np.ascontiguousarray(block[:, place[name]]), self.kind) if name in place
                    else rows.column(name) for name in wanted
                ]  # fmt: skip
                yield pa.table(arrays, schema=pa.schema([schema.field(name) for name in wanted]))


def _dense(block: Any) -> Any:
    return block.toarray() if hasattr(block, "toarray") else np.asarray(block)


def _columns(made: Any, names: list[str], settings: Settings) -> list[Column]:
    if not set(_TOLD) <= set(made.var.columns):
        found = [column_of(name, compartments=settings.compartments) for name in names]
        return [one if one.role == "feature" else Column(one.name, "feature") for one in found]
    told = made.var[list(_TOLD)]
    return [
        Column(
            name,
            "feature",
            str(row["compartment"]),
            str(row["family"]),
            str(row["channel"]),
            str(row["unit"]),
            bool(row["positional"]),
        )
        for name, (_, row) in zip(names, told.iterrows(), strict=True)
    ]


def _unpacked(table: pa.Table) -> pa.Table:
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(place, field.name, table.column(place).cast(field.type.value_type))
    return table


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        import anndata  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise MissingExtraError.of("anndata", "profiles") from error
    try:
        made = anndata.read_h5ad(path, backed="r")
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise DamagedError(f"{path} is no AnnData file: {error}") from error
    with closing(made.file):
        yield made
