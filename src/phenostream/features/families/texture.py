"""Texture: Haralick's features of the grey-level co-occurrence matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from phenostream.features.library import measured
from phenostream.values import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from phenostream.features.scene import Scene

VERSION = 1

_NAMES = (
    "AngularSecondMoment",
    "Contrast",
    "Correlation",
    "Variance",
    "InverseDifferenceMoment",
    "SumAverage",
    "SumVariance",
    "SumEntropy",
    "Entropy",
    "DifferenceVariance",
    "DifferenceEntropy",
    "InfoMeas1",
    "InfoMeas2",
)
_DIRECTIONS = 4


class Settings(BaseModel):
    """Scales and grey levels; the defaults are those of the published pipeline."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scales: tuple[int, ...] = Field((3,), description="Distances in pixels between the two pixels of a pair.")
    grey_levels: int = Field(256, ge=2, le=256, description="Number of grey levels the intensities 0..1 are put in.")


def columns(settings: Settings, channels: Sequence[str]) -> list[Column]:
    """``Texture_<name>_<channel>_<scale>_<direction>_<levels>``; directions 00 to 03 are right, down-right, down, down-left."""
    return [
        Column(
            f"Texture_{name}_{channel}_{scale}_{direction:02d}_{settings.grey_levels}",
            family="Texture",
            channel=channel,
            unit="1",
        )
        for channel in channels
        for scale in settings.scales
        for direction in range(_DIRECTIONS)
        for name in _NAMES
    ]


def compute(scene: Scene, settings: Settings) -> NDArray[np.float64]:
    """The features (n, channels * scales * 52)."""
    levels = settings.grey_levels
    return np.hstack(
        [
            measured(
                scene,
                "texture",
                [f"{name}_{scale}_{d:02d}_{levels}" for d in range(_DIRECTIONS) for name in _NAMES],
                channel,
                scale=scale,
                gray_levels=levels,
            )
            for channel in scene.channels
            for scale in settings.scales
        ]
    )
