"""Feret diameters: the narrowest and the widest gap between parallel lines that enclose an object's pixel centres."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

from phenostream.compiled import kernel
from phenostream.features.hulls import widths
from phenostream.values import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from phenostream.features.scene import Scene

VERSION = 1
BY_OBJECT = True

_NAMES = ("MaxFeretDiameter", "MinFeretDiameter")


class Settings(BaseModel):
    """Feret diameters have no parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def columns(settings: Settings, channels: Sequence[str]) -> list[Column]:  # noqa: ARG001
    """``AreaShape_MaxFeretDiameter`` and ``AreaShape_MinFeretDiameter``."""
    return [Column(f"AreaShape_{name}", family="AreaShape", unit="px") for name in _NAMES]


def compute(scene: Scene, settings: Settings) -> NDArray[np.float64]:  # noqa: ARG001
    """The diameters (n, 2); both are 0 for a single pixel, the narrowest is 0 for a line."""
    return _measure(*scene.hulls)


@kernel
def _measure(points: NDArray[np.int64], borders: NDArray[np.int64]) -> NDArray[np.float64]:
    out = np.empty((borders.size - 1, 2))
    for i in range(out.shape[0]):
        out[i, 0], out[i, 1] = widths(points[borders[i] : borders[i + 1]])
    return out
