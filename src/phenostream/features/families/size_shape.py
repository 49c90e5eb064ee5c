"""Size and shape: area, axes, roundness, radii, position."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from phenostream.features.library import measured
from phenostream.values import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from phenostream.features.scene import Scene

VERSION = 1

_UNITS = {
    "Area": "px^2",
    "BoundingBoxArea": "px^2",
    "BoundingBoxMaximum_X": "px",
    "BoundingBoxMaximum_Y": "px",
    "BoundingBoxMinimum_X": "px",
    "BoundingBoxMinimum_Y": "px",
    "Center_X": "px",
    "Center_Y": "px",
    "Compactness": "1",
    "ConvexArea": "px^2",
    "Eccentricity": "1",
    "EquivalentDiameter": "px",
    "EulerNumber": "1",
    "Extent": "1",
    "FormFactor": "1",
    "MajorAxisLength": "px",
    "MaximumRadius": "px",
    "MeanRadius": "px",
    "MedianRadius": "px",
    "MinorAxisLength": "px",
    "Orientation": "deg",
    "Perimeter": "px",
    "Solidity": "1",
}
_POSITIONAL = ("BoundingBoxM", "Center_", "Orientation")


class Settings(BaseModel):
    """Size and shape have no parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def columns(settings: Settings, channels: Sequence[str]) -> list[Column]:  # noqa: ARG001
    """``AreaShape_*``: one column a feature."""
    return [
        Column(f"AreaShape_{name}", family="AreaShape", unit=unit, positional=name.startswith(_POSITIONAL))
        for name, unit in _UNITS.items()
    ]


def compute(scene: Scene, settings: Settings) -> NDArray[np.float64]:  # noqa: ARG001
    """The features (n, 23)."""
    return measured(scene, "sizeshape", list(_UNITS))
