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


_SAMPLES, _LONGER = 4, 4  # most samples of a picture's pixel, and how many times longer its sides are at least


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
        image: (Y, X) or (C, Y, X), any integer or float type. A grey picture with equal colours, (Y, X, 3) as picture
            readers give it, counts as (Y, X) where `channels` does not say otherwise.
        model: name of a segmenter: ``classical``, ``nuclei`` (the network that ships), ``cellpose``, ``stardist`` or an
            outside one; those that read files of an archive are for recipes.
        diameter: typical diameter of the objects in pixels; estimated from the image when None.
        channels: names of the channels of `image`, in order; numbered from 0 when None.
        channel: the channel to segment; the first when None.
        options: further settings of the segmenter.

    Returns:
        Labels (Y, X) int32: 0 is background, objects are 1 to N in the raster order of their first pixels. An empty
        or flat image has no objects.

    Raises:
        WrongShapeError: `image` is neither (Y, X) nor (C, Y, X), a colour picture, or `channels` does not fit it.
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
    if channels is None and _is_picture(image.shape):
        image = _grey(image)
    if image.ndim not in {2, 3}:
        raise WrongShapeError(f"an image is (Y, X) or (C, Y, X), not {image.shape}")
    count = 1 if image.ndim == 2 else image.shape[0]
    known = tuple(channels) if channels is not None else tuple(str(index) for index in range(count))
    if len(known) != count:
        raise WrongShapeError(f"{len(known)} channel names for an image of shape {image.shape}")
    if count == 0:
        raise WrongShapeError("an image without channels has nothing to segment")
    return Field.of(image, known)


def _is_picture(shape: tuple[int, ...]) -> bool:
    """Whether the last axis is one of colours: two to four, or one, behind two that are both far longer."""
    return len(shape) == 3 and 1 <= shape[2] <= _SAMPLES and min(shape[:2]) > _LONGER * shape[2]


def _grey(picture: NDArray[Any]) -> NDArray[Any]:
    """The plane (Y, X) of a picture (Y, X, samples) with equal colours; the second and fourth sample may be alpha."""
    plane: NDArray[Any] = picture[..., 0]
    colours = picture
    if picture.shape[2] in (2, 4) and (picture[..., -1] == picture[0, 0, -1]).all():
        colours = picture[..., :-1]
    if (colours != colours[..., :1]).any():
        raise WrongShapeError(
            f"an image of shape {picture.shape} looks like a colour picture (Y, X, colours), not like (C, Y, X)",
            remedy="choose a plane, image[..., 0], or give np.moveaxis(image, -1, 0)",
        )
    return plane
