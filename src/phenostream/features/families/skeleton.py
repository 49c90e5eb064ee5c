"""Skeleton: how the lines that grow out of an object branch, as the neurites of a cell body.

The objects are seeds; a channel shows the lines, which are thinned to a skeleton one pixel wide (an image that is a
skeleton already stays one). What CellProfiler's MeasureObjectSkeleton describes: trunks leave the seed, other branches
leave a trunk or a branch, ends are where a line stops. Crossings are read off the number of runs of skeleton pixels
round a pixel: Rutovitz (1966), Pattern recognition, J. Royal Stat. Soc. A 129(4), 504-530.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.ndimage import label
from skimage.morphology import skeletonize

from phenostream.compiled import kernel
from phenostream.values import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from phenostream.features.scene import Scene

VERSION = 1

_UNITS = {
    "NumberTrunks": "1",
    "NumberNonTrunkBranches": "1",
    "NumberBranchEnds": "1",
    "TotalObjectSkeletonLength": "px",
}
# The eight neighbours, clockwise: (row, column).
_ROUND = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
_EIGHT = np.ones((3, 3), np.int64)


class Settings(BaseModel):
    """What counts as a line."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(
        0.0, ge=0, description="Scaled intensity above which a pixel is of a line; 0 for an image of lines on black."
    )


def columns(settings: Settings, channels: Sequence[str]) -> list[Column]:  # noqa: ARG001
    """``ObjectSkeleton_<name>_<channel>``."""
    return [
        Column(f"ObjectSkeleton_{name}_{channel}", family="ObjectSkeleton", channel=channel, unit=unit)
        for channel in channels
        for name, unit in _UNITS.items()
    ]


def compute(scene: Scene, settings: Settings) -> NDArray[np.float64]:
    """The features (n, channels * 4); zeros for an object that no line touches."""
    # A border of nothing spares every test for the edge.
    labels = np.pad(scene.labels, 1)
    blocks = []
    for channel in scene.channels:
        lines = skeletonize(scene.image(channel) > settings.threshold * scene.scale(channel))  # type: ignore[no-untyped-call]
        outside = np.pad(lines, 1) & (labels == 0)
        blocks.append(_count(*_grow(labels, outside), len(scene)))
    return np.hstack(blocks)


@kernel
def _grow(labels: NDArray[np.int32], outside: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Whose each skeleton pixel is, and how many steps from there: the nearest object along the lines, 0 for none.

    The lower label among equals, whatever the order of the walk: all of one step are known before the next is taken.
    """
    owners, steps = np.zeros_like(labels), np.zeros_like(labels)
    queue = np.empty((outside.sum(), 2), np.int64)
    used = 0
    for y in range(1, labels.shape[0] - 1):
        for x in range(1, labels.shape[1] - 1):
            owners[y, x] = _touched(labels, y, x) if outside[y, x] else 0
            if owners[y, x] > 0:
                steps[y, x] = 1
                queue[used] = (y, x)
                used += 1
    k = 0
    while k < used:
        y, x = queue[k]
        for v in range(y - 1, y + 2):
            for u in range(x - 1, x + 2):
                if outside[v, u] and owners[v, u] == 0:
                    owners[v, u], steps[v, u] = owners[y, x], steps[y, x] + 1
                    queue[used] = (v, u)
                    used += 1
                elif outside[v, u] and steps[v, u] == steps[y, x] + 1:
                    owners[v, u] = min(owners[v, u], owners[y, x])
        k += 1
    return owners, steps


@kernel
def _touched(labels: NDArray[np.int32], y: int, x: int) -> int:
    """The lowest label among the eight neighbours; 0 for none."""
    found = 0
    for v in range(y - 1, y + 2):
        for u in range(x - 1, x + 2):
            if labels[v, u] > 0 and (found == 0 or labels[v, u] < found):
                found = labels[v, u]
    return found


def _count(owners: NDArray[np.int32], steps: NDArray[np.int32], n: int) -> NDArray[np.float64]:
    """(n, 4): trunks, other branches, ends, length."""
    trunk, arms = _trunks(steps)
    roots = np.zeros(arms.size, np.int64)
    np.maximum.at(roots, trunk[trunk >= 0], owners[trunk >= 0])
    far = np.argwhere(steps > 1)
    runs = _runs(steps, far)
    own = owners[far[:, 0], far[:, 1]]
    branches = _sum(own, np.maximum(runs - 2, 0), n) + _sum(roots, np.maximum(arms - 1, 0), n)
    ends = _sum(own, runs == 1, n) + _sum(roots, arms == 0, n)
    return np.column_stack([_sum(roots, np.ones(arms.size), n), branches, ends, _lengths(owners, n)])


def _sum(owners: NDArray[np.integer], values: NDArray[np.generic], n: int) -> NDArray[np.float64]:
    """The sum of `values` of each of `owners` 1 to `n`."""
    return np.asarray(np.bincount(owners, weights=np.asarray(values, dtype=float), minlength=n + 1)[1:], dtype=float)


def _trunks(steps: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The trunk, from 0, of every pixel that touches an object (-1 elsewhere), and how many lines go on from each.

    Pixels that touch an object and each other are one trunk: a line may run along an object before it leaves it.
    """
    trunks, count = label(steps == 1, structure=_EIGHT)
    onward, _ = label(steps == 2, structure=_EIGHT)
    rows, cols = np.nonzero(trunks)
    pairs = [np.column_stack([trunks[rows, cols], onward[rows + y, cols + x]]) for y, x in _ROUND]
    met = np.unique(np.vstack(pairs), axis=0)
    arms = np.bincount(met[met[:, 1] > 0, 0] - 1, minlength=count)
    return trunks.astype(np.int64) - 1, arms.astype(np.int64)


def _runs(steps: NDArray[np.int32], places: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many separate runs of skeleton pixels stand round each of `places`: 1 at an end, 3 or more at a crossing."""
    rows, cols = places.T
    lit = np.stack([steps[rows + y, cols + x] > 0 for y, x in _ROUND])
    return np.asarray((lit & ~np.roll(lit, 1, axis=0)).sum(axis=0))


def _lengths(owners: NDArray[np.int32], n: int) -> NDArray[np.float64]:
    """Links between neighbouring pixels of one object's lines: 1, or √2 where no corner pixel joins the two."""
    rows, cols = np.nonzero(owners)
    own = owners[rows, cols]
    total = np.zeros(n)
    for y, x in ((0, 1), (1, 0), (1, 1), (1, -1)):
        linked = owners[rows + y, cols + x] == own
        if y and x:
            linked &= (owners[rows + y, cols] != own) & (owners[rows, cols + x] != own)
        total += _sum(own, linked * np.hypot(y, x), n)
    return total
