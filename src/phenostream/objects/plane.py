"""The one image plane that a segmenter looks at, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from phenostream.errors import NotFiniteError, WrongDtypeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phenostream.values import Field


def channel_of(field: Field, channel: str = "") -> NDArray[Any]:
    """The pixels (Y, X) of the channel named `channel` of `field` (the first when empty), in their own type.

    Raises:
        ChannelMissingError: no such channel.
        WrongDtypeError: pixels are neither integers nor floats.
        NotFiniteError: pixels are NaN or infinite.
    """
    image: NDArray[Any] = field.read()[field.index(channel) if channel else 0]
    if image.dtype.kind not in "iuf":
        raise WrongDtypeError(f"pixels are {image.dtype}, not integers or floats").at(
            plate=field.id.plate, well=field.id.well
        )
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        count = int((~np.isfinite(image)).sum())
        raise NotFiniteError(
            f"{count} of {image.size} pixels are NaN or infinite", remedy="mask or replace them before segmentation"
        ).at(plate=field.id.plate, well=field.id.well)
    return image
