"""Which columns say plate, well, treatment and control: by exact name or as asked, never by a substring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from phenostream.errors import NotFoundError, RecipeError
from phenostream.values import columns_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

_PLATES = ("Metadata_Plate", "Image_Metadata_Plate", "Metadata_plate", "Plate")
_WELLS = ("Metadata_Well", "Image_Metadata_Well", "Metadata_well", "Metadata_well_position", "Well")
_SITES = ("Metadata_Site", "Image_Metadata_Site", "Metadata_site")
_IDS = ("CellId", "Cell_UUID", "Metadata_CellId")
_CONTROLS = ("Metadata_Control Type", "Metadata_Control_Type", "Metadata_control_type", "Metadata_Control",
             "Metadata_pert_type", "Metadata_Compound", "Metadata_compound", "Image_Metadata_Compound")  # fmt: skip
_CONTROL_WORDS = ("negative control", "negcon", "negative_control", "dmso", "trt_ctl", "control_vehicle")
_GROUPS = ("Metadata_Dose", "Metadata_dose", "Metadata_Compound", "Metadata_compound", "Image_Metadata_Compound",
           "Metadata_Gene", "Metadata_gene", "Metadata_Original Gene Target", "Metadata_broad_sample")  # fmt: skip
#: More groups than this cannot be told apart on one page.
MOST_GROUPS = 60


class Settings(BaseModel):
    """What a report is asked to show beside what it finds by itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    controls: str = Field("", description="COLUMN=VALUE of the negative controls; several values with | between")
    group: str = Field("", description="column of the treatments that are compared with the controls")
    plate: str = Field("", description="column of the plate, where it has no usual name")
    well: str = Field("", description="column of the well, where it has no usual name")
    embedding: Literal["auto", "pca", "umap"] = Field("auto", description="map of cells: UMAP if installed, else PCA")
    cells: int = Field(2_000, ge=10, le=20_000, description="cells on the map")
    seed: int = Field(0, ge=0, description="of sampling and of the map")


@dataclass(frozen=True, slots=True)
class Design:
    """Names of the columns that place a row; empty where there is none.

    Attributes:
        controls: column that names the controls.
        control_values: its values that are controls, as text.
        found: whether the controls were recognised and not asked for.
        metadata: all metadata columns, in the order of the schema.
    """

    plate: str = ""
    well: str = ""
    site: str = ""
    id: str = ""
    controls: str = ""
    control_values: tuple[str, ...] = ()
    found: bool = False
    group: str = ""
    metadata: tuple[str, ...] = ()


def design(schema: pa.Schema, settings: Settings, values: Mapping[str, Sequence[str]]) -> Design:
    """The design of a table.

    Args:
        schema: its columns.
        settings: what was asked for.
        values: distinct values, as text, of metadata columns that have few.

    Raises:
        NotFoundError: a column that was asked for is not there.
        RecipeError: controls not written as COLUMN=VALUE, or no row has that value.
    """
    names = [column.name for column in columns_of(schema) if column.role == "metadata"]
    controls, words, found = _controls(settings, names, values)
    group = _asked(settings.group, names) or next(
        (name for name in _GROUPS if name != controls and 1 < len(values.get(name, ())) <= MOST_GROUPS), ""
    )
    if not group and controls and len(values.get(controls, ())) <= MOST_GROUPS:
        group = controls
    return Design(
        _asked(settings.plate, names) or _first(_PLATES, names),
        _asked(settings.well, names) or _first(_WELLS, names),
        _first(_SITES, names), _first(_IDS, names), controls, words, found, group, tuple(names),
    )  # fmt: skip


def text(column: Any) -> Any:
    """A column as strings; missing values are empty."""
    return pc.fill_null(column.cast("string"), "")


def _controls(
    settings: Settings, names: Sequence[str], values: Mapping[str, Sequence[str]]
) -> tuple[str, tuple[str, ...], bool]:
    if settings.controls:
        name, equals, wanted = settings.controls.partition("=")
        if not equals:
            raise RecipeError(f"controls {settings.controls!r}", remedy="write them as COLUMN=VALUE")
        _asked(name, names)
        words = tuple(one.strip() for one in wanted.split("|"))
        if name in values and not set(words) & set(values[name]):
            few = ", ".join(sorted(values[name])[:12])
            raise RecipeError(f"no row has {settings.controls}", remedy=f"{name} has: {few}")
        return name, words, False
    for name in _CONTROLS:
        words = tuple(one for one in values.get(name, ()) if one.lower() in _CONTROL_WORDS)
        if words:
            return name, words, True
    return "", (), False


def _asked(name: str, names: Sequence[str]) -> str:
    if name and name not in names:
        few = ", ".join(names[:12])
        raise NotFoundError(f"no metadata column {name!r}", remedy=f"there are: {few}")
    return name


def _first(wanted: Sequence[str], names: Sequence[str]) -> str:
    return next((name for name in wanted if name in names), "")
