"""Square crops around objects, cut all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from phenostream.errors import WrongShapeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def crops(
    image: NDArray[Any],
    centers: ArrayLike,
    size: int,
    *,
    labels: NDArray[Any] | None = None,
    numbers: ArrayLike | None = None,
) -> NDArray[Any]:
    """Cut a square around every centre; what lies outside the image is zero.

    A crop of even size has its centre between its two middle pixels: it covers ``round(centre) - size // 2`` onward.

    Args:
        image: (Y, X) or (C, Y, X).
        centers: (N, 2), (y, x) in pixels, inside the image.
        size: side of the square in pixels.
        labels: (Y, X); when given with `numbers`, pixels outside the crop's own object are set to zero.
        numbers: (N,) label of each centre's object.

    Returns:
        (N, size, size) or (N, C, size, size) in the type of `image`.

    Raises:
        WrongShapeError: arguments of shapes that do not fit.
    """
    stack = image[None] if image.ndim == 2 else image
    places = np.rint(np.asarray(centers, np.float64)).astype(np.int64).reshape(-1, 2)
    if stack.ndim != 3 or size < 1:
        raise WrongShapeError(f"cannot cut squares of {size} from an image of shape {image.shape}")
    cut = _cut(stack, places, size)
    if labels is not None and numbers is not None:
        cut[_others(labels, numbers, places, size, stack.shape)] = 0
    return cut[:, 0] if image.ndim == 2 else cut


def _cut(stack: NDArray[Any], places: NDArray[np.int64], size: int) -> NDArray[Any]:
    corner = places - size // 2 + size
    if places.size and ((places < 0).any() or (places >= stack.shape[1:]).any()):
        raise WrongShapeError(f"centres lie outside the image of {stack.shape[1]} x {stack.shape[2]} pixels")
    padded = np.pad(stack, ((0, 0), (size, size), (size, size)))
    windows = sliding_window_view(padded, (size, size), axis=(1, 2))
    return np.moveaxis(windows[:, corner[:, 0], corner[:, 1]], 0, 1)


def _others(
    labels: NDArray[Any], numbers: ArrayLike, places: NDArray[np.int64], size: int, shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    own = np.asarray(numbers).reshape(-1, 1, 1, 1)
    if labels.shape != shape[1:] or own.shape[0] != places.shape[0]:
        raise WrongShapeError(f"labels {labels.shape} and {own.shape[0]} numbers do not fit the image and its centres")
    other = _cut(labels[None], places, size) != own
    return np.broadcast_to(other, (places.shape[0], shape[0], size, size))
