"""What is the cell in a crop: its central object, and that object with the fragments close by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

#: Pixels that smoothing spans (standard deviation), and the half gap over which fragments count as one cell.
_SMOOTH, _REACH = 1.0, 2
_DISC = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class CropMasks:
    """Of one crop (Y, X).

    Attributes:
        central: the connected object at the centre, or the nearest to it; holes filled.
        group: with the objects that lie within four pixels of it, and so on: fragmented and lobed nuclei in one.
        pieces: (Y, X) int32, every object numbered.
        threshold: Otsu's, of the smoothed crop.
        smooth: the smoothed crop.
    """

    central: Mask
    group: Mask
    pieces: NDArray[np.int32]
    threshold: float
    smooth: NDArray[np.float64]


def crop_masks(crop: NDArray[Any]) -> CropMasks:
    """Otsu's threshold on the smoothed crop, holes filled, and the object at the centre.

    A crop without contrast, or without any object, gives a disc of 10 px at its centre.

    Args:
        crop: (Y, X), finite.
    """
    smooth = ndimage.gaussian_filter(np.asarray(crop, np.float64), _SMOOTH)
    threshold = float(threshold_otsu(smooth)) if np.ptp(smooth) > 0 else float(smooth.flat[0])  # type: ignore[no-untyped-call]
    bright = ndimage.binary_fill_holes(smooth > threshold)
    away = _from_centre(smooth.shape)
    if not bright.any():
        bright = away <= max(_DISC, away.min())
    pieces, _ = ndimage.label(bright)
    nearest = int(np.where(bright, away, np.inf).argmin())
    joined, _ = ndimage.label(ndimage.binary_dilation(bright, iterations=_REACH))
    group = bright & (joined == joined.flat[nearest])
    return CropMasks(pieces == pieces.flat[nearest], group, pieces.astype(np.int32), threshold, smooth)


def _from_centre(shape: tuple[int, ...]) -> NDArray[np.float64]:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return np.hypot(rows - (shape[0] - 1) / 2, columns - (shape[1] - 1) / 2)
