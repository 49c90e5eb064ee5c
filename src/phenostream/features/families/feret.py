"""Feret diameters: the narrowest and the widest gap between two parallel lines that enclose an object."""

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

_NAMES = ("MaxFeretDiameter", "MinFeretDiameter")


class Settings(BaseModel):
    """Feret diameters have no parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def columns(settings: Settings, channels: Sequence[str]) -> list[Column]:  # noqa: ARG001
    """``AreaShape_MaxFeretDiameter`` and ``AreaShape_MinFeretDiameter``."""
    return [Column(f"AreaShape_{name}", family="AreaShape", unit="px") for name in _NAMES]


def compute(scene: Scene, settings: Settings) -> NDArray[np.float64]:  # noqa: ARG001
    """The diameters (n, 2)."""
    return measured(scene, "feret", _NAMES)
