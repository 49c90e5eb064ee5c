"""Neighbours in three dimensions: who touches an object, and which objects are closest.

As CellProfiler's MeasureObjectNeighbors, but where its code, written for the plane, leaves an axis out of a volume: it
takes distances and angles without X, finds an outline without X, and lets objects touch within a ball that is not
centred on the voxel. Here all three axes count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import distance_transform_edt

from phenostream.compiled import kernel
from phenostream.features.families.neighbors import VERSION, Settings, closest, columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phenostream.features.volumes.volume import Volume

__all__ = ["VERSION", "Settings", "columns", "compute"]


def compute(scene: Volume, settings: Settings) -> NDArray[np.float64]:
    """The features (n, 7); zeros where there is no such neighbour, as CellProfiler gives."""
    out = np.zeros((len(scene), 7))
    if len(scene) < 2:
        return out
    labels = _expanded(scene.labels) if settings.method == "expand" else scene.labels
    reach = settings.distance if settings.method == "within" else 1
    out[:, :2] = _touching(labels, len(scene), _ball(reach), _ball(reach + 0.5))
    out[:, 2:] = closest(_centroids(scene), scene.numbers)
    return out


def _expanded(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    places = distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
    return np.asarray(labels[tuple(places)], dtype=np.int32)


def _ball(radius: float) -> NDArray[np.int64]:
    """Offsets (plane, row, column) within `radius`, but the centre; the nearest first."""
    side = np.arange(-int(radius), int(radius) + 1)
    offsets = np.stack(np.meshgrid(side, side, side, indexing="ij"), axis=-1).reshape(-1, 3)
    squares = (offsets**2).sum(axis=1)
    order = np.argsort(squares, kind="stable")
    return np.asarray(offsets[order][(squares[order] <= radius**2) & (squares[order] > 0)])


def _centroids(scene: Volume) -> NDArray[np.float64]:
    """(n, 3): of the objects as they are, also where they are expanded to find who touches."""
    sums = [np.add.reduceat(axis, scene.offsets[:-1], dtype=np.int64) for axis in scene.points]
    return np.column_stack(sums) / scene.areas[:, None]


@kernel
def _touching(
    labels: NDArray[np.int32], n: int, near: NDArray[np.int64], nearer: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(n, 2): number of other objects within `near` of an object, percent of its outline within `nearer` of one."""
    depth, height, width = labels.shape
    rim, touched = np.zeros(n, np.int64), np.zeros(n, np.int64)
    pairs, used = np.empty(64, np.int64), 0
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                own = labels[z, y, x]
                if own == 0 or not _outline(labels, z, y, x):
                    continue
                rim[own - 1] += 1
                touched[own - 1] += _meets(labels, z, y, x, nearer)
                for k in range(near.shape[0]):
                    other = _label(labels, z + near[k, 0], y + near[k, 1], x + near[k, 2])
                    pair = (own - 1) * np.int64(n) + other - 1
                    if other < 1 or other == own or (used > 0 and pairs[used - 1] == pair):
                        continue
                    if used == pairs.size:
                        kept = np.unique(pairs)
                        pairs, used = np.concatenate((kept, np.empty(kept.size + 64, np.int64))), kept.size
                    pairs[used] = pair
                    used += 1
    out = np.zeros((n, 2))
    for pair in np.unique(pairs[:used]):
        out[pair // n, 0] += 1
    for i in range(n):
        out[i, 1] = 100.0 * touched[i] / rim[i] if rim[i] > 0 else 0.0
    return out


@kernel
def _outline(labels: NDArray[np.int32], z: int, y: int, x: int) -> bool:
    """Whether a voxel lies on a face of the volume or has one of 26 neighbours with another label."""
    depth, height, width = labels.shape
    if z in (0, depth - 1) or y in (0, height - 1) or x in (0, width - 1):
        return True
    for w in range(z - 1, z + 2):
        for v in range(y - 1, y + 2):
            for u in range(x - 1, x + 2):
                if labels[w, v, u] != labels[z, y, x]:
                    return True
    return False


@kernel
def _meets(labels: NDArray[np.int32], z: int, y: int, x: int, steps: NDArray[np.int64]) -> int:
    """1 where a voxel of another object is within `steps`, else 0."""
    for k in range(steps.shape[0]):
        other = _label(labels, z + steps[k, 0], y + steps[k, 1], x + steps[k, 2])
        if other > 0 and other != labels[z, y, x]:
            return 1
    return 0


@kernel
def _label(labels: NDArray[np.int32], z: int, y: int, x: int) -> int:
    """0 beyond the volume."""
    depth, height, width = labels.shape
    return labels[z, y, x] if 0 <= z < depth and 0 <= y < height and 0 <= x < width else 0
