"""One label volume and its channels: what the three-dimensional families measure."""

from __future__ import annotations

from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from phenostream.compiled import kernel
from phenostream.features.grouping import group
from phenostream.features.scene import Scene

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Volume(Scene):
    """A :class:`Scene` with labels and images (Z, Y, X)."""

    AXES: ClassVar[tuple[str, ...]] = ("Z", "Y", "X")

    def prepare(self) -> Volume:
        """Compute what families share, so that threads only read it."""
        _ = self._grouped, self.areas, self.corners
        return self

    def part(self, start: int, stop: int) -> Volume:
        """The volume with the objects `start` to `stop` - 1 only: views of this one, which must be prepared."""
        first, last = self.offsets[start], self.offsets[stop]
        part = copy(self)
        part.threads, part.pool, part.numbers = 1, None, self.numbers[start:stop]
        shared = (*(each[first:last] for each in self._grouped[:3]), self.offsets[start : stop + 1] - first)
        part.__dict__.update(_grouped=shared, areas=self.areas[start:stop], corners=self.corners[start:stop])
        return part

    @cached_property
    def _grouped(self) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
        depth, height, width = self.labels.shape
        return group(self.labels.reshape(depth * height, width), len(self))

    @property
    def points(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
        """Plane, row and column of every object voxel, in the order of `pixels`."""
        lines, cols = self._grouped[1:3]
        planes, rows = np.divmod(lines, np.int32(self.labels.shape[1]))
        return planes, rows, cols

    @cached_property
    def corners(self) -> NDArray[np.int64]:
        """(n, 6): first plane, row and column; last plane, row and column + 1."""
        return _corners(*self.points, self.offsets)

    @property
    def places(self) -> Any:
        """A volume has `points`."""
        raise AttributeError("a volume has points (Z, Y, X), not places (Y, X)")


@kernel
def _corners(
    planes: NDArray[np.int32], rows: NDArray[np.int32], cols: NDArray[np.int32], offsets: NDArray[np.int64]
) -> NDArray[np.int64]:
    out = np.empty((offsets.size - 1, 6), np.int64)
    for i in range(offsets.size - 1):
        own = slice(offsets[i], offsets[i + 1])
        for k, axis in enumerate((planes[own], rows[own], cols[own])):
            out[i, k], out[i, 3 + k] = axis.min(), axis.max() + 1
    return out
