"""Intensity: how bright an object and its edge are, and where the light sits in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

from phenostream.features.library import measured
from phenostream.values import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from phenostream.features.scene import Scene

VERSION = 1

_NAMES = (
    "IntegratedIntensity",
    "IntegratedIntensityEdge",
    "LowerQuartileIntensity",
    "MADIntensity",
    "MassDisplacement",
    "MaxIntensity",
    "MaxIntensityEdge",
    "MeanIntensity",
    "MeanIntensityEdge",
    "MedianIntensity",
    "MinIntensity",
    "MinIntensityEdge",
    "StdIntensity",
    "StdIntensityEdge",
    "UpperQuartileIntensity",
)


class Settings(BaseModel):
    """Intensity has no parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def columns(settings: Settings, channels: Sequence[str]) -> list[Column]:  # noqa: ARG001
    """``Intensity_*_<channel>``."""
    return [
        Column(
            f"Intensity_{name}_{channel}",
            family="Intensity",
            channel=channel,
            unit="px" if name == "MassDisplacement" else "intensity",
        )
        for channel in channels
        for name in _NAMES
    ]


def compute(scene: Scene, settings: Settings) -> NDArray[np.float64]:  # noqa: ARG001
    """The features (n, channels * 15)."""
    wanted = [f"Intensity_{name}" for name in _NAMES]
    return np.hstack([measured(scene, "intensity", wanted, channel) for channel in scene.channels])
