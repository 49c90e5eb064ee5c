"""Neighbours: who touches an object, and which objects are closest.

As CellProfiler's MeasureObjectNeighbors of one kind of objects. Closest objects are by distance between centroids;
among equals the lower number comes first.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.ndimage import distance_transform_edt
from scipy.spatial import KDTree

from phenostream.compiled import kernel
from phenostream.values import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from phenostream.features.scene import Scene

VERSION = 2

_UNITS = {
    "NumberOfNeighbors": "1",
    "PercentTouching": "%",
    "FirstClosestObjectNumber": "1",
    "FirstClosestDistance": "px",
    "SecondClosestObjectNumber": "1",
    "SecondClosestDistance": "px",
    "AngleBetweenNeighbors": "deg",
}


class Settings(BaseModel):
    """When two objects are neighbours."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["adjacent", "within", "expand"] = Field(
        "adjacent",
        description="Neighbours touch as they are, when both grow by a distance, or when all grow until they touch.",
    )
    distance: int = Field(5, ge=1, description="How far objects grow, in pixels; for `within` only.")

    @property
    def scale(self) -> str:
        """The last word of the columns."""
        return {"adjacent": "Adjacent", "within": str(self.distance), "expand": "Expanded"}[self.method]


def columns(settings: Settings, channels: Sequence[str]) -> list[Column]:  # noqa: ARG001
    """``Neighbors_*_Adjacent``, ``Neighbors_*_<distance>`` or ``Neighbors_*_Expanded``."""
    return [
        Column(
            f"Neighbors_{name}_{settings.scale}",
            family="Neighbors",
            unit=unit,
            positional=name.endswith("ObjectNumber"),
        )
        for name, unit in _UNITS.items()
    ]


def compute(scene: Scene, settings: Settings) -> NDArray[np.float64]:
    """The features (n, 7); zeros where there is no such neighbour, as CellProfiler gives."""
    out = np.zeros((len(scene), len(_UNITS)))
    if len(scene) < 2:
        return out
    labels = _expanded(scene.labels) if settings.method == "expand" else scene.labels
    reach = settings.distance if settings.method == "within" else 1
    out[:, :2] = _touching(labels, len(scene), _disk(reach), _disk(reach + 0.5))
    # As they are, grown or not: what lies closest does not depend on how far others could grow.
    out[:, 2:] = closest(_centroids(scene.labels, len(scene)), scene.numbers)
    return out


def _expanded(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    rows, cols = distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
    return np.asarray(labels[rows, cols], dtype=np.int32)


def _disk(radius: float) -> NDArray[np.int64]:
    """Offsets (row, column) within `radius`, but the centre."""
    side = np.arange(-int(radius), int(radius) + 1)
    rows, cols = np.meshgrid(side, side, indexing="ij")
    inside = (rows**2 + cols**2 <= radius**2) & ((rows != 0) | (cols != 0))
    return np.column_stack([rows[inside], cols[inside]])


def closest(centres: NDArray[np.float64], numbers: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n, 5): number of and distance to the closest and the second closest object, angle between the two.

    `centres` are (n, 2) or (n, 3), n at least 2.
    """
    first, second = _nearest_two(centres)
    out = np.zeros((len(centres), 5))
    one = centres[first] - centres
    out[:, 0], out[:, 1] = numbers[first], reduce(np.hypot, one.T)
    if len(centres) > 2:
        other = centres[second] - centres
        out[:, 2], out[:, 3] = numbers[second], reduce(np.hypot, other.T)
        with np.errstate(invalid="ignore"):
            cosine = (one * other).sum(axis=1) / np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
            out[:, 4] = np.rad2deg(np.arccos(np.clip(cosine, -1, 1)))
    return out


def _nearest_two(centres: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the two nearest others; the second repeats the first where there are only two objects."""
    count = min(len(centres), 2 ** (centres.shape[1] + 1))
    _, found = KDTree(centres).query(centres, k=count)
    # The tree returns equals in any order, and so many objects at one distance are not met on a pixel grid by chance.
    squares = ((centres[found] - centres[:, None]) ** 2).sum(axis=2)
    squares[found == np.arange(len(centres))[:, None]] = np.inf
    order = np.lexsort((found, squares), axis=1)
    ranked = np.take_along_axis(found, order, axis=1)
    return ranked[:, 0], ranked[:, 1 if len(centres) > 2 else 0]


@kernel
def _centroids(labels: NDArray[np.int32], n: int) -> NDArray[np.float64]:
    sums = np.zeros((n, 3), np.int64)
    height, width = labels.shape
    for y in range(height):
        for x in range(width):
            i = labels[y, x] - 1
            if i >= 0:
                sums[i, 0] += y
                sums[i, 1] += x
                sums[i, 2] += 1
    out = np.empty((n, 2))
    for i in range(n):
        out[i, 0], out[i, 1] = sums[i, 0] / sums[i, 2], sums[i, 1] / sums[i, 2]
    return out


@kernel
def _touching(
    labels: NDArray[np.int32], n: int, near: NDArray[np.int64], nearer: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(n, 2): number of other objects within `near` of an object, percent of its outline within `nearer` of one."""
    height, width = labels.shape
    rim, touched, count = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)
    pairs = np.empty(64, np.int64)
    used = 0
    for y in range(height):
        for x in range(width):
            own = labels[y, x]
            if own == 0 or not _outline(labels, y, x):
                continue
            rim[own - 1] += 1
            touched[own - 1] += _meets(labels, y, x, nearer)
            for k in range(near.shape[0]):
                v, u = y + near[k, 0], x + near[k, 1]
                if 0 <= v < height and 0 <= u < width and labels[v, u] > 0 and labels[v, u] != own:
                    pair = (own - 1) * np.int64(n) + labels[v, u] - 1
                    if used == 0 or pairs[used - 1] != pair:
                        if used == pairs.size:
                            kept = np.unique(pairs)
                            pairs = np.concatenate((kept, np.empty(kept.size + 64, np.int64)))
                            used = kept.size
                        pairs[used] = pair
                        used += 1
    for pair in np.unique(pairs[:used]):
        count[pair // n] += 1
    out = np.zeros((n, 2))
    for i in range(n):
        out[i, 0] = count[i]
        out[i, 1] = 100.0 * touched[i] / rim[i] if rim[i] > 0 else 0.0
    return out


@kernel
def _outline(labels: NDArray[np.int32], y: int, x: int) -> bool:
    """Whether a pixel lies on the image border or has one of eight neighbours with another label."""
    height, width = labels.shape
    if y in (0, height - 1) or x in (0, width - 1):
        return True
    for v in range(y - 1, y + 2):
        for u in range(x - 1, x + 2):
            if labels[v, u] != labels[y, x]:
                return True
    return False


@kernel
def _meets(labels: NDArray[np.int32], y: int, x: int, steps: NDArray[np.int64]) -> int:
    """1 where a pixel of another object is within `steps`, else 0."""
    height, width = labels.shape
    for k in range(steps.shape[0]):
        v, u = y + steps[k, 0], x + steps[k, 1]
        if 0 <= v < height and 0 <= u < width and labels[v, u] > 0 and labels[v, u] != labels[y, x]:
            return 1
    return 0
