"""Compartments: the cell round each nucleus, and the cytoplasm between the two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, cast

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, SerializeAsAny, model_validator
from pydantic import Field as Setting

from phenostream.errors import RecipeError
from phenostream.objects.labels import cytoplasm, expand, matched
from phenostream.objects.plane import channel_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from phenostream.values import Field, Objects, Store

    Labels = NDArray[np.int32]


def _segmenter(value: Any) -> Any:
    from phenostream.objects import plug  # noqa: PLC0415  (which knows these settings)

    return plug.settings(value) if isinstance(value, dict) else value


class CellSettings(BaseModel):
    """How cells are found round nuclei; each has the number of its nucleus, and so has its cytoplasm."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["expand", "propagate", "given"] = Setting(
        "expand",
        description=(
            "expand: the pixels within `distance` of a nucleus. propagate: those of `channel` over `threshold`, each to"
            " the nucleus that it reaches with the least change of light, as CellProfiler's Propagation does."
            " given: the objects of `segmenter`, each matched to the nucleus that it shares the most pixels with."
        ),
    )
    distance: float = Setting(
        10, ge=0, le=1000, description="expand: how far a cell reaches beyond its nucleus, in pixels."
    )
    channel: str = Setting("", description="propagate: channel that shows the cells; empty: the first of the field.")
    threshold: float | None = Setting(
        None,
        ge=0,
        le=1,
        description=(
            "propagate: intensity over which a pixel is of a cell, as a share of the largest of an integer type, or as"
            " it stands in floats; empty: Otsu's of each image."
        ),
    )
    regularization: float = Setting(
        0.05, ge=0, le=1e6, description="propagate: how much distance counts beside light, as in CellProfiler."
    )
    fill_holes: bool = Setting(True, description="propagate: give a cell what lies wholly within it.")
    segmenter: Annotated[SerializeAsAny[BaseModel] | None, BeforeValidator(_segmenter)] = Setting(
        None, description="given: settings of the segmenter whose objects are the cells, such as `{model: masks, ...}`."
    )
    rim: bool = Setting(
        False,
        description=(
            "Count the outermost pixels of a nucleus to its cytoplasm too, as CellProfiler does where it shrinks the"
            " smaller objects first."
        ),
    )

    @model_validator(mode="after")
    def given_cells_have_a_segmenter(self) -> Self:
        """A segmenter of cells stands where it is asked, and only there."""
        if (self.method == "given") != (self.segmenter is not None):
            raise ValueError("`segmenter` goes with `method: given`, and that with a segmenter")
        return self


def compartments(
    found: Objects, field: Field, settings: CellSettings | None, store: Store | None = None
) -> Mapping[str, Labels]:
    """The labels (Y, X) of every compartment by name: the objects `found` first, then ``Cells`` and ``Cytoplasm``.

    Args:
        found: the nuclei.
        field: the field that they lie in, with pixels.
        settings: how cells are found; without, there are none.
        store: where the field's planes lie, for segmenters whose labels lie there too.

    Raises:
        ChannelMissingError: the field has no such channel.
        WrongShapeError: pixels and labels do not fit.
        NotFoundError: given cells that are not there.
    """
    if settings is None:
        return {found.compartment: found.labels}
    if settings.method == "given":
        around = matched(_given(field, settings, store), found.labels)
    else:
        around = cells(found.labels, channel_of(field, settings.channel), settings)
    return {
        found.compartment: found.labels,
        "Cells": around,
        "Cytoplasm": cytoplasm(around, found.labels, rim=settings.rim),
    }


def _given(field: Field, settings: CellSettings, store: Store | None) -> Labels:
    from phenostream.objects import plug  # noqa: PLC0415  (which knows these settings)

    segmenter = cast("plug.SegmenterSettings", settings.segmenter)
    return plug.run(plug.build(segmenter), field, store).labels


def cells(nuclei: NDArray[Any], image: NDArray[Any], settings: CellSettings) -> Labels:
    """The cells (Y, X) int32 round `nuclei` (Y, X), with their numbers, as `image` (Y, X) shows them.

    Raises:
        RecipeError: cells that are given need no finding: see :func:`phenostream.objects.matched`.
    """
    from phenostream.objects.propagation import fill_holes, propagate  # noqa: PLC0415  (the compiler loads late)

    if settings.method == "given":
        raise RecipeError("given cells are not found in an image", remedy="use objects.matched(cells, nuclei)")
    if settings.method == "expand":
        return expand(nuclei, settings.distance)
    light = _scaled(image)
    threshold = _otsu(light) if settings.threshold is None else settings.threshold
    grown = propagate(light, nuclei, light > threshold, regularization=settings.regularization)
    return fill_holes(grown) if settings.fill_holes else grown


def _scaled(image: NDArray[Any]) -> NDArray[np.float64]:
    whole = float(np.iinfo(image.dtype).max) if image.dtype.kind in "iu" else 1.0
    return np.asarray(image, np.float64) / whole


def _otsu(light: NDArray[np.float64]) -> float:
    from skimage.filters import threshold_otsu  # noqa: PLC0415  (loads late)

    if not light.size or light.min() == light.max():
        return np.inf
    return float(threshold_otsu(light))  # type: ignore[no-untyped-call]
