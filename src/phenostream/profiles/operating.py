"""Operations: what every one of them takes and gives, and how it is found by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from pydantic import BaseModel, ByteSize, ConfigDict, Field, ValidationError

from phenostream.errors import RecipeError
from phenostream.profiles.tables import open_table, whole, write_table
from phenostream.values import recipes
from phenostream.values.plugs import Plugs

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from phenostream.profiles.tables import Source

GROUP = "phenostream.operations"
_PLUGS = Plugs("phenostream.profiles.operations", GROUP, "operation")

Names = tuple[str, ...]
Features = Literal["model", "all"] | Names


class OperationSettings(BaseModel):
    """Settings are values: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FitSettings(OperationSettings):
    """What operations that fit something have in common."""

    features: Features = Field(
        "model", description="model: features that are no places; all: every feature; or a list of names"
    )
    controls: dict[str, str | int | float | tuple[str | int | float, ...]] = Field(
        default_factory=dict,
        description="fit on these rows only: column to value or values, `{Metadata_Control: negative}`; empty: on all",
    )
    memory: ByteSize = Field(ByteSize(2 << 30), description="bytes that columns may take while medians are found")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an operation gave.

    Attributes:
        source: the rows; those of a large table are computed when they are read.
        told: what was counted, excluded and decided, as plain JSON values.
        fitted: the fitted statistics as a table, to be saved and applied to other rows; None where nothing was fitted.
        rejected: rows that were left out one by one, each with its ``reason``; None where an operation rejects none.
    """

    source: Source
    told: dict[str, Any] = field(default_factory=dict)
    fitted: pa.Table | None = None
    rejected: pa.Table | None = None

    def table(self) -> pa.Table:
        """All rows in memory."""
        return whole(self.source)

    def write(self, path: str | Path) -> int:
        """Write the rows as Parquet, streaming; how many they are. Raises DiskFullError; whole or not at all."""
        return write_table(self.source, Path(path))


class Operation(Protocol):
    """What a module of ``profiles/operations`` offers."""

    Settings: type[BaseModel]
    operate: Callable[[Source, Any, pa.Table | None], Outcome]


def operation_names() -> tuple[str, ...]:
    """Every operation, sorted."""
    return _PLUGS.names()


def operation(name: str) -> Operation:
    """The operation called `name`. Raises RecipeError with the known names."""
    return cast("Operation", _PLUGS.load(name))


def settings_of(name: str, given: dict[str, Any]) -> BaseModel:
    """The settings of one operation. Raises RecipeError naming the key and what was expected."""
    kind = operation(name).Settings
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        told = recipes.faults(error, most=1)
        raise RecipeError(f"{name}: {told}", remedy=f"settings: {', '.join(kind.model_fields)}") from error


def operate(
    where: Source | pa.Table | str | Path, name: str, *, fitted: pa.Table | None = None, **settings: Any
) -> Outcome:
    """Do one operation on a table, whatever its size.

    Args:
        where: a table in memory, a run folder, a Parquet file or a folder of them.
        name: ``normalise``, ``sphere``, ``tvn``, ``select``, ``aggregate``, ``consensus``, ``annotate``, ``merge``,
            ``quality``, ``distinct``, or one that a plug-in brings.
        fitted: what the same operation fitted before (:attr:`Outcome.fitted`), applied instead of fitting anew.
        settings: of that operation.

    Returns:
        The rows, what was counted, and what was fitted. The input is never changed.

    Raises:
        RecipeError: unknown operation or setting, or one that does not suit the table (a plate without controls).
        NotFoundError: no table there, or a column is missing.
        OverBudgetError: medians of more rows than `memory` allows.
    """
    return operation(name).operate(open_table(where), settings_of(name, settings), fitted)
