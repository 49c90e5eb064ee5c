"""Granularity: how much of the light lies in grains of each size."""

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


class Settings(BaseModel):
    """Scales of the spectrum; the defaults are those of the published pipeline."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subsample: float = Field(0.25, gt=0, le=1, description="Factor by which the image is reduced first.")
    background_subsample: float = Field(
        0.25, gt=0, le=1, description="Factor by which the reduced image is reduced again to estimate its background."
    )
    radius: int = Field(10, ge=1, description="Radius of the background's disk, in pixels of the twice reduced image.")
    length: int = Field(16, ge=1, description="Number of sizes in the spectrum.")


def columns(settings: Settings, channels: Sequence[str]) -> list[Column]:
    """``Granularity_i_<channel>``, in percent of the object's mean intensity."""
    return [
        Column(f"Granularity_{i}_{channel}", family="Granularity", channel=channel, unit="%")
        for channel in channels
        for i in range(1, settings.length + 1)
    ]


def compute(scene: Scene, settings: Settings) -> NDArray[np.float64]:
    """The spectra (n, channels * length)."""
    wanted = [f"Granularity_{i}" for i in range(1, settings.length + 1)]
    options = {
        "subsample_size": settings.subsample,
        "image_sample_size": settings.background_subsample,
        "element_size": settings.radius,
        "granular_spectrum_length": settings.length,
    }
    return np.hstack([measured(scene, "granularity", wanted, channel, **options) for channel in scene.channels])
