"""Size and shape in three dimensions: volume, surface, axes, roundness, position.

As CellProfiler's MeasureObjectSizeShape of volumes. The surface is that of Lewiner's marching cubes (2003, Efficient
implementation of marching cubes' cases with topological guarantees, J. Graphics Tools 8(2), 1-15), open where an object
leaves the image; the ellipsoid has the object's second central moments; the Euler number takes voxels as closed cubes
(26 neighbours); the convex hull counts the voxels inside the hull of all face centres.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import ConvexHull
from skimage.measure import marching_cubes, mesh_surface_area

from phenostream.compiled import kernel
from phenostream.errors import RecipeError
from phenostream.features.families.size_shape import VERSION, Settings
from phenostream.values import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from phenostream.features.volumes.volume import Volume

    Places = NDArray[np.int32]

__all__ = ["BY_OBJECT", "VERSION", "Settings", "columns", "compute"]

BY_OBJECT = True

_UNITS = {
    "BoundingBoxMaximum_X": "px",
    "BoundingBoxMaximum_Y": "px",
    "BoundingBoxMaximum_Z": "px",
    "BoundingBoxMinimum_X": "px",
    "BoundingBoxMinimum_Y": "px",
    "BoundingBoxMinimum_Z": "px",
    "BoundingBoxVolume": "px^3",
    "Center_X": "px",
    "Center_Y": "px",
    "Center_Z": "px",
    "EquivalentDiameter": "px",
    "EulerNumber": "1",
    "Extent": "1",
    "MajorAxisLength": "px",
    "MinorAxisLength": "px",
    "Solidity": "1",
    "SurfaceArea": "px^2",
    "Volume": "px^3",
}
_POSITIONAL = ("BoundingBoxM", "Center_")
# skimage takes a point this far outside a facet for inside, and so do we: hull and witness agree on the surface.
_ON_THE_HULL = 1e-10


def columns(settings: Settings, channels: Sequence[str]) -> list[Column]:  # noqa: ARG001
    """``AreaShape_*``: one column a feature. Raises RecipeError where moments are asked for."""
    if settings.moments:
        raise RecipeError("moments are measured in two dimensions only", remedy="leave size_shape.moments out")
    return [
        Column(f"AreaShape_{name}", family="AreaShape", unit=unit, positional=name.startswith(_POSITIONAL))
        for name, unit in _UNITS.items()
    ]


def compute(scene: Volume, settings: Settings) -> NDArray[np.float64]:  # noqa: ARG001
    """The features (n, 18)."""
    low, high = scene.corners[:, :3], scene.corners[:, 3:]
    volume, box = scene.areas.astype(float), (high - low).prod(1)
    centre, longest, shortest = _ellipsoid(_central(*scene.points, scene.offsets))
    euler, surface = _cubes(scene.points, scene.offsets, scene.corners, scene.labels.shape, *_tables()).T
    found = {
        **{f"BoundingBoxMinimum_{axis}": low[:, k] for k, axis in enumerate("ZYX")},
        **{f"BoundingBoxMaximum_{axis}": high[:, k] for k, axis in enumerate("ZYX")},
        **{f"Center_{axis}": centre[:, k] for k, axis in enumerate("ZYX")},
        "BoundingBoxVolume": box,
        "EquivalentDiameter": np.cbrt(6 * volume / np.pi),
        "EulerNumber": euler,
        "Extent": volume / box,
        "MajorAxisLength": longest,
        "MinorAxisLength": shortest,
        "Solidity": volume / _hull_volumes(scene),
        "SurfaceArea": surface,
        "Volume": volume,
    }
    return np.column_stack([found[name] for name in _UNITS]).astype(float)


def _ellipsoid(central: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Centres (n, 3), longest and shortest axis of the ellipsoids with covariances ``central[:, 3:]``."""
    z, y, x, zz, yy, xx, zy, zx, yx = central.T
    spread = np.stack([zz, zy, zx, zy, yy, yx, zx, yx, xx], 1).reshape(-1, 3, 3)
    small, _, large = np.maximum(np.linalg.eigvalsh(spread), 0).T
    return np.column_stack([z, y, x]), np.sqrt(20 * large), np.sqrt(20 * small)


@kernel
def _central(
    planes: NDArray[np.int32], rows: NDArray[np.int32], cols: NDArray[np.int32], offsets: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(n, 9): mean place, then the variances zz, yy, xx and covariances zy, zx, yx."""
    out = np.zeros((offsets.size - 1, 9))
    for i in range(offsets.size - 1):
        start, stop = offsets[i], offsets[i + 1]
        z0, y0, x0 = planes[start:stop].mean(), rows[start:stop].mean(), cols[start:stop].mean()
        sums = np.zeros(6)
        for k in range(start, stop):
            z, y, x = planes[k] - z0, rows[k] - y0, cols[k] - x0
            sums += np.array((z * z, y * y, x * x, z * y, z * x, y * x))
        out[i, :3] = np.array((z0, y0, x0))
        out[i, 3:] = sums / (stop - start)
    return out


def _hull_volumes(scene: Volume) -> NDArray[np.int64]:
    """Voxels whose centre lies in the convex hull of each object's face centres."""
    found = np.empty(len(scene), np.int64)
    points = np.column_stack(scene.points).astype(float)
    for i, (low, high) in enumerate(zip(scene.corners[:, :3], scene.corners[:, 3:], strict=True)):
        own = _ends(points[scene.offsets[i] : scene.offsets[i + 1]])
        faces = np.concatenate([own + shift for shift in (*np.eye(3) / 2, *-np.eye(3) / 2)])
        hull = np.unique(ConvexHull(faces).equations, axis=0)
        found[i] = _inside(hull, low, high, _ON_THE_HULL)
    return found


def _ends(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """First and last voxel of every line along x: no other is a vertex of the hull. `points` are in raster order."""
    lines = np.any(points[1:, :2] != points[:-1, :2], axis=1)
    ends: NDArray[np.float64] = points[np.concatenate([[True], lines]) | np.concatenate([lines, [True]])]
    return ends


@kernel
def _inside(planes: NDArray[np.float64], low: NDArray[np.int64], high: NDArray[np.int64], slack: float) -> int:
    count = 0
    for z in range(low[0], high[0]):
        for y in range(low[1], high[1]):
            for x in range(low[2], high[2]):
                within = True
                for k in range(planes.shape[0]):
                    if planes[k, 0] * z + planes[k, 1] * y + planes[k, 2] * x + planes[k, 3] > slack:
                        within = False
                        break
                count += within
    return count


@cache
def _tables() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each of the 256 ways to fill a 2 x 2 x 2 block adds to the Euler number and to the surface."""
    blocks = (np.arange(256)[:, None] >> np.arange(8) & 1).astype(bool).reshape(-1, 2, 2, 2)
    return np.array([_euler(block) for block in blocks]), np.array([_surface(block) for block in blocks])


def _euler(block: NDArray[np.bool_]) -> float:
    """Vertices - edges + faces - cubes that meet in the block's centre, each divided among the blocks that share it."""
    edges = sum(bool(block.take(side, axis).any()) for axis in range(3) for side in (0, 1))
    faces = sum(
        bool(block.take(a, one).take(b, other - 1).any())
        for one, other in ((0, 1), (0, 2), (1, 2))
        for a, b in product((0, 1), repeat=2)
    )
    return float(block.any()) - edges / 2 + faces / 4 - int(block.sum()) / 8


def _surface(block: NDArray[np.bool_]) -> float:
    if block.all() or not block.any():
        return 0.0
    vertices, faces, _, _ = marching_cubes(block, level=0, method="lewiner")  # type: ignore[no-untyped-call]
    return float(mesh_surface_area(vertices, faces))  # type: ignore[no-untyped-call]


@kernel
def _cubes(
    points: tuple[Places, Places, Places],
    offsets: NDArray[np.int64],
    corners: NDArray[np.int64],
    shape: tuple[int, int, int],
    euler: NDArray[np.float64],
    surface: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(n, 2): Euler number and surface. Blocks that reach beyond the image count for the first only."""
    planes, rows, cols = points
    out = np.zeros((offsets.size - 1, 2))
    for i in range(offsets.size - 1):
        z0, y0, x0 = corners[i, 0] - 1, corners[i, 1] - 1, corners[i, 2] - 1
        filled = np.zeros((corners[i, 3] - z0 + 1, corners[i, 4] - y0 + 1, corners[i, 5] - x0 + 1), np.int64)
        for k in range(offsets[i], offsets[i + 1]):
            filled[planes[k] - z0, rows[k] - y0, cols[k] - x0] = 1
        for z in range(filled.shape[0] - 1):
            deep = 0 <= z0 + z < shape[0] - 1
            for y in range(filled.shape[1] - 1):
                high = deep and 0 <= y0 + y < shape[1] - 1
                for x in range(filled.shape[2] - 1):
                    code = 0
                    for corner in range(8):
                        code |= filled[z + (corner >> 2), y + (corner >> 1 & 1), x + (corner & 1)] << corner
                    out[i, 0] += euler[code]
                    if high and 0 <= x0 + x < shape[2] - 1:
                        out[i, 1] += surface[code]
    return out
