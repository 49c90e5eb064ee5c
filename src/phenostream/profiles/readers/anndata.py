"""AnnData (``.h5ad``): ``X`` as features, ``obs`` as metadata, what ``var`` says of the columns."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from phenostream.errors import DamagedError, MissingExtraError, PhenostreamError
from phenostream.profiles.operating import Names, OperationSettings
from phenostream.profiles.roles import COMPARTMENTS, column_of
from phenostream.values import Column, with_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from phenostream.profiles.tables import Source

_ROWS = 16_384
_KINDS = ("array", "string-array", "categorical", "nullable-integer", "nullable-boolean")
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
    package wrote it, else from the names. Neither ``obs`` nor ``X`` is held in memory, only the categories of ``obs``.

    Raises:
        MissingExtraError: anndata is not installed.
        DamagedError: not such a file, one of anndata before 0.7, ``X`` holds no numbers, or a column of ``obs`` is of a
            kind that tables have not.
    """
    with _opened(path) as file:
        var = _var(file)
        names = [str(name) for name in var.index]
        columns = _columns(var, names, settings)
        kind = np.dtype(_values(file).dtype)
        obs = {name: _slice(node, 0, 0).type for name, node in _observed(file, path).items()}
    if kind.kind not in "fiu" or len(set(names)) < len(names):
        raise DamagedError(f"{path}: X holds {kind}, or var has a name twice")
    return _AnnData(path, obs, tuple(columns), pa.float32() if kind == np.float32 else pa.float64())


@dataclass(frozen=True, slots=True)
class _AnnData:
    """The file; `obs` are the types of its columns."""

    path: Path
    obs: dict[str, Any]
    columns: tuple[Column, ...]
    kind: Any

    def schema(self) -> pa.Schema:
        fields: list[pa.Field[Any]] = [pa.field(name, kind) for name, kind in self.obs.items()]
        fields += [pa.field(column.name, self.kind) for column in self.columns]
        known = [Column(name, "metadata") for name in self.obs]
        return with_columns(pa.schema(fields).empty_table(), [*known, *self.columns]).schema

    def count(self) -> int:
        with _opened(self.path) as file:
            return _rows(file)

    def tables(self, names: Sequence[str] | None = None) -> Iterator[pa.Table]:
        schema = self.schema()
        wanted = list(schema.names) if names is None else list(names)
        chosen = pa.schema([schema.field(name) for name in wanted])
        place = {column.name: index for index, column in enumerate(self.columns)}
        with _opened(self.path) as file:
            observed = {name: node for name, node in _observed(file, self.path).items() if name in wanted}
            values = _values(file) if any(name in place for name in wanted) else None
            for start in range(0, max(_rows(file), 1), _ROWS):
                stop = min(start + _ROWS, _rows(file))
                block = np.zeros((0, 0)) if values is None else _dense(values[start:stop])
                arrays: list[Any] = [
                    pa.array(np.ascontiguousarray(block[:, place[name]]), self.kind) if name in place
                    else _slice(observed[name], start, stop) for name in wanted
                ]  # fmt: skip
                yield pa.table(arrays, schema=chosen)


def _observed(file: Any, path: Path) -> dict[str, Any]:
    """Columns of ``obs`` by name, the observations' names first."""
    obs = file["obs"]
    if obs.attrs.get("encoding-type") != "dataframe":
        raise DamagedError(f"{path} was written by anndata before 0.7", remedy="write it again with a newer one")
    named = {str(name): _Kept.of(obs[name]) for name in obs.attrs["column-order"]}
    return {"CellId": _Kept.of(obs[obs.attrs["_index"]]), **named}


@dataclass(frozen=True, slots=True)
class _Kept:
    """One column of ``obs``: what is stored, its kind, and its categories."""

    node: Any
    kind: str
    categories: Any = None

    @classmethod
    def of(cls, node: Any) -> _Kept:
        kind = str(node.attrs.get("encoding-type", "array"))
        if kind == "categorical":
            return cls(node["codes"], kind, _array(node["categories"][:]))
        if kind not in _KINDS:
            raise DamagedError(
                f"{node.name} is of the kind {kind}", remedy=f"keep columns of {', '.join(_KINDS)} in obs"
            )
        return cls(node, kind)


def _slice(column: _Kept, start: int, stop: int) -> Any:
    """Rows `start` to `stop` of a column, missing values null."""
    if column.kind == "categorical":
        codes = column.node[start:stop].astype(np.int64)
        return column.categories.take(pa.array(codes, mask=codes < 0))
    if column.kind in ("nullable-integer", "nullable-boolean"):
        return pa.array(column.node["values"][start:stop], mask=column.node["mask"][start:stop])
    return _array(column.node[start:stop])


def _array(values: Any) -> Any:
    if values.dtype.kind in "SO":
        texts = [one.decode() if isinstance(one, bytes) else one for one in values.tolist()]
        return pa.array(texts, pa.string())
    return pa.array(values, from_pandas=True)


def _rows(file: Any) -> int:
    return int(file["obs"][file["obs"].attrs["_index"]].shape[0])


def _values(file: Any) -> Any:
    from anndata.io import sparse_dataset  # noqa: PLC0415  (an extra)

    return file["X"] if hasattr(file["X"], "shape") else sparse_dataset(file["X"])


def _dense(block: Any) -> Any:
    return block.toarray() if hasattr(block, "toarray") else np.asarray(block)


def _var(file: Any) -> Any:
    from anndata.io import read_elem  # noqa: PLC0415  (an extra)

    return read_elem(file["var"])


def _columns(var: Any, names: list[str], settings: Settings) -> list[Column]:
    if not set(_TOLD) <= set(var.columns):
        found = [column_of(name, compartments=settings.compartments) for name in names]
        return [one if one.role == "feature" else Column(one.name, "feature") for one in found]
    told = var[list(_TOLD)]
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


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import h5py  # noqa: PLC0415  (slow to import)

    try:
        import anndata.io  # noqa: F401, PLC0415  (an extra)
    except ImportError as error:
        raise MissingExtraError.of("anndata", "profiles") from error
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        if isinstance(error, PhenostreamError):
            raise
        raise DamagedError(f"{path} is no AnnData file: {error}") from error
