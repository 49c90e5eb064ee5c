"""Radial Zernikes: Zernike moments of the light in an object's smallest enclosing circle.

As CellProfiler's MeasureObjectIntensityDistribution with Zernikes: magnitudes are divided by the object's area in
pixels; phases are ``arctan2(real, imaginary)``, CellProfiler's order of the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from phenostream.features.families.zernike import moments, orders
from phenostream.values import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from phenostream.features.scene import Scene

VERSION = 1
BY_OBJECT = True


class Settings(BaseModel):
    """Up to which degree, and whether phases are wanted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    degree: int = Field(9, ge=0, le=20, description="Largest degree n of the polynomials.")
    phase: bool = Field(True, description="Also report phases, which turn with the object.")


def columns(settings: Settings, channels: Sequence[str]) -> list[Column]:
    """``RadialDistribution_ZernikeMagnitude_<channel>_n_m``, and ``ZernikePhase`` where asked for."""
    kinds = ("Magnitude", "Phase") if settings.phase else ("Magnitude",)
    return [
        Column(
            f"RadialDistribution_Zernike{kind}_{channel}_{n}_{m}",
            family="RadialDistribution",
            channel=channel,
            unit="intensity" if kind == "Magnitude" else "rad",
            positional=kind == "Phase",
        )
        for channel in channels
        for kind in kinds
        for n, m in orders(settings.degree)
    ]


def compute(scene: Scene, settings: Settings) -> NDArray[np.float64]:
    """The moments (n, channels * orders, twice with phases); NaN for a single pixel."""
    blocks = []
    for channel in scene.channels:
        real, imaginary, _ = moments(scene, scene.values(channel), settings.degree)
        blocks.append(np.sqrt(real**2 + imaginary**2) / scene.areas[:, None])
        if settings.phase:
            blocks.append(np.arctan2(real, imaginary))
    return np.hstack(blocks)
