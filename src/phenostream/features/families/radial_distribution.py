"""Radial distribution: how the light is spread from an object's centre to its edge."""

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

_NAMES = ("FracAtD", "MeanFrac", "RadialCV")


class Settings(BaseModel):
    """How many rings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bins: int = Field(4, ge=2, le=64, description="Number of rings between the centre and the edge.")


def columns(settings: Settings, channels: Sequence[str]) -> list[Column]:
    """``RadialDistribution_<name>_<channel>_<k>of<bins>``."""
    return [
        Column(
            f"RadialDistribution_{name}_{channel}_{k}of{settings.bins}",
            family="RadialDistribution",
            channel=channel,
            unit="1",
        )
        for channel in channels
        for name in _NAMES
        for k in range(1, settings.bins + 1)
    ]


def compute(scene: Scene, settings: Settings) -> NDArray[np.float64]:
    """The features (n, channels * 3 * bins)."""
    wanted = [f"RadialDistribution_{name}_{k}of{settings.bins}" for name in _NAMES for k in range(1, settings.bins + 1)]
    options = {"bin_count": settings.bins}
    return np.hstack([measured(scene, "radial_distribution", wanted, channel, **options) for channel in scene.channels])
