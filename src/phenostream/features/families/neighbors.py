"""Neighbours: who touches an object, and which objects are closest."""

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

_UNITS = {
    "AngleBetweenNeighbors": "deg",
    "FirstClosestDistance": "px",
    "FirstClosestObjectNumber": "1",
    "NumberOfNeighbors": "1",
    "PercentTouching": "%",
    "SecondClosestDistance": "px",
    "SecondClosestObjectNumber": "1",
}


class Settings(BaseModel):
    """Neighbours are those that touch."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def columns(settings: Settings, channels: Sequence[str]) -> list[Column]:  # noqa: ARG001
    """``Neighbors_*_Adjacent``."""
    return [
        Column(f"Neighbors_{name}_Adjacent", family="Neighbors", unit=unit, positional=name.endswith("ObjectNumber"))
        for name, unit in _UNITS.items()
    ]


def compute(scene: Scene, settings: Settings) -> NDArray[np.float64]:  # noqa: ARG001
    """The features (n, 7); zeros where there is no other object, as CellProfiler gives."""
    if len(scene) < 2:
        return np.zeros((len(scene), len(_UNITS)))
    wanted = [f"Neighbors_{name}_Adjacent" for name in _UNITS]
    block = measured(scene, "neighbors", wanted, distance_method="Adjacent")
    block[:, 2], block[:, 6] = _closest(scene)
    return block


def _closest(scene: Scene) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rows, cols = np.divmod(scene.pixels, scene.labels.shape[1])
    owner = np.repeat(np.arange(len(scene)), scene.areas)
    centre = np.column_stack([np.bincount(owner, part) for part in (rows, cols)]) / scene.areas[:, None]
    distance = np.hypot(*(centre[:, None] - centre[None]).transpose(2, 0, 1))
    np.fill_diagonal(distance, -1)
    order = np.argsort(distance, axis=1, kind="stable")
    second = scene.numbers[order[:, 2]] if len(scene) > 2 else np.zeros(len(scene), np.int64)
    return scene.numbers[order[:, 1]], second
