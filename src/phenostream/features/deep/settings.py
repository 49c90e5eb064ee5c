"""Which model embeds the objects, and which box, whose pixels and which intensities it is shown."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

DEFAULT_MODEL = "cellnet"


class CropSettings(BaseModel):
    """How the crop around an object is made. A model package says which crops it was trained on; these override it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    geometry: Literal["plain", "deepprofiler"] = Field(
        "plain",
        description="deepprofiler: a fixed box around the mean of the outline, sampled and enlarged as DeepProfiler "
        "does it, zero outside of the image; nothing but `box_px` applies then",
    )
    box: Literal["fixed", "object"] = Field(
        "fixed", description="fixed: the same box for all, so that size shows; object: scaled to each object's size"
    )
    box_px: float = Field(64, gt=1, le=4096, description="side of the fixed box in pixels")
    diameter: float | None = Field(
        None, gt=0, description="of a typical object in pixels: the fixed box is scaled to it, as the model was trained"
    )
    times: float = Field(
        2.0, gt=0, le=32, description="side of the box as a multiple of the object's equivalent diameter (box: object)"
    )
    mask: bool = Field(False, description="only the object's own pixels; else its surroundings as well")
    intensity: Literal["crop", "field", "absolute"] = Field(
        "crop",
        description="what becomes 0 and 1: least and largest pixel of the crop; the field's 0.1 and 99.9 percentiles; "
        "or 0 and the largest value of the pixel type",
    )


class DeepSettings(BaseModel):
    """Which model embeds the objects, and from which crops."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(
        DEFAULT_MODEL, description="a model package: a name that `phenostream models list` knows, or a folder"
    )
    channels: tuple[str, ...] | None = Field(None, description="channels to look at, by name; all where not given")
    crops: dict[str, Any] = Field(
        default_factory=dict, description="how the crops differ from those the package was made for: `{mask: true}`"
    )
    device: Literal["cpu", "cuda", "auto"] = Field(
        "cpu", description="where the model computes; results are the same bits only on the same kind of device"
    )
