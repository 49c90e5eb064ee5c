"""Crops of the objects of one field, cut and scaled as the settings say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from phenostream.features.deep.boxes import centroids, outline_means
from phenostream.features.deep.gather import gather, gather_deepprofiler, ranges

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phenostream.features.deep.settings import CropSettings
    from phenostream.features.scene import Scene

# Percentiles of a field's pixels that become 0 and 1 where intensities are compared within a field.
_FIELD = (0.1, 99.9)


class Cutter:
    """Cuts the crops of one field, some objects at a time; what depends on the whole field is computed once."""

    def __init__(self, scene: Scene, settings: CropSettings, size: int, *, reference: float) -> None:
        """Prepare.

        Args:
            scene: labels and channels.
            settings: which crops.
            size: side of the crops in pixels.
            reference: diameter in pixels of the objects that the model was trained on.
        """
        self._settings, self._size = settings, size
        self._labels = scene.labels
        self._stack = np.stack([_share(plane) for plane in scene.images])
        if settings.geometry == "deepprofiler":
            self._middles = outline_means(scene.labels, len(scene))
            return
        told = centroids(scene.labels, len(scene))
        self._sides = _sides(settings, told[:, 2], reference)
        self._corners = _corners(told[:, :2], self._sides)
        self._own = np.arange(1, len(scene) + 1, dtype=np.int32) * settings.mask
        self._limits = self._limits_of_all()

    def __call__(self, first: int, last: int) -> NDArray[np.float32]:
        """Crops (last - first, C, size, size) of the objects `first` to `last` (not included), by ascending label."""
        one = slice(first, last)
        if self._settings.geometry == "deepprofiler":
            return gather_deepprofiler(self._stack, self._middles[one], round(self._settings.box_px), self._size)
        return gather(
            self._stack, self._corners[one], self._sides[one], self._size, self._labels, self._own[one],
            self._limits[one],
        )  # fmt: skip

    def _limits_of_all(self) -> NDArray[np.float32]:
        if self._settings.intensity == "crop":
            return ranges(self._stack, self._corners, self._sides, self._labels, self._own)
        told = np.tile(np.array([0, 1], np.float32), (len(self._stack), 1))
        if self._settings.intensity == "field":
            told = np.percentile(self._stack, _FIELD, axis=(1, 2)).T.astype(np.float32)
        return np.tile(told, (len(self._sides), 1, 1))


def _share(plane: NDArray[Any]) -> NDArray[np.float32]:
    """The plane as float32, integers as shares of the largest value of their type."""
    scale = np.iinfo(plane.dtype).max if plane.dtype.kind == "u" else 1
    return plane.astype(np.float32) / np.float32(scale)


def _sides(settings: CropSettings, areas: NDArray[np.float64], reference: float) -> NDArray[np.float64]:
    if settings.box == "object":
        return np.maximum(settings.times * np.sqrt(areas * 4 / np.pi), 2.0)
    scale = settings.diameter / reference if settings.diameter else 1.0
    return np.full(len(areas), settings.box_px * scale)


def _corners(middles: NDArray[np.float64], sides: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centres of the first pixels; boxes of whole pixels are copied and not interpolated."""
    whole = sides == np.rint(sides)
    return np.where(whole[:, None], np.rint(middles) - sides[:, None] // 2, middles - (sides[:, None] - 1) / 2)
