"""`segment`: one image in, labels out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from phenostream.errors import WrongShapeError
from phenostream.objects import plug
from phenostream.values import Field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


def segment(
    image: NDArray[Any],
    model: str = "classical",
    diameter: float | None = None,
    *,
    channels: Sequence[str] | None = None,
    channel: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> NDArray[np.int32]:
    """Label the objects of one image.

    Args:
        image: (Y, X) or (C, Y, X), any integer or float type.
        model: name of a segmenter: ``classical``, ``cellpose``, ``stardist`` or an outside one.
        diameter: typical diameter of the objects in pixels; estimated from the image when None.
        channels: names of the channels of `image`, in order; numbered from 0 when None.
        channel: the channel to segment; the first when None.
        options: further settings of the segmenter.

    Returns:
        Labels (Y, X) int32: 0 is background, objects are 1 to N in the raster order of their first pixels. An empty
        or flat image has no objects.

    Raises:
        WrongShapeError: `image` is neither (Y, X) nor (C, Y, X), or `channels` does not fit it.
        WrongDtypeError: pixels are not integers or floats.
        NotFiniteError: pixels are NaN or infinite.
        ChannelMissingError: `channel` is not among `channels`.
        RecipeError: unknown `model`, or an option it does not take.

    Examples:
        >>> import numpy as np
        >>> y, x = np.mgrid[:64, :64]
        >>> image = 100 * np.exp(-((y - 32) ** 2 + (x - 32) ** 2) / 100)
        >>> int(segment(image).max())
        1
    """
    given: dict[str, Any] = {"model": model, **(options or {})}
    if channel is not None:
        given["channel"] = channel
    if diameter is not None:
        given["diameter"] = diameter
    return plug.build(plug.settings(given)).segment(_field(np.asarray(image), channels)).labels


def _field(image: NDArray[Any], channels: Sequence[str] | None) -> Field:
    if image.ndim not in {2, 3}:
        raise WrongShapeError(f"an image is (Y, X) or (C, Y, X), not {image.shape}")
    count = 1 if image.ndim == 2 else image.shape[0]
    known = tuple(channels) if channels is not None else tuple(str(index) for index in range(count))
    if len(known) != count:
        raise WrongShapeError(f"{len(known)} channel names for an image of shape {image.shape}")
    if count == 0:
        raise WrongShapeError("an image without channels has nothing to segment")
    return Field.of(image, known)
