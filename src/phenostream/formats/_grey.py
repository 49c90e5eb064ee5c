"""One plane out of a picture with samples: greys pass, colours do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from phenostream.errors import WrongShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def grey(picture: NDArray[Any], what: str) -> NDArray[Any]:
    """The plane (Y, X) of a picture (Y, X) or (Y, X, samples).

    Two samples are grey and alpha, three red, green and blue, four those and alpha. Equal colours are a grey picture;
    alpha must be opaque throughout, for what it hides is unknown.

    Raises:
        WrongShapeError: real colours, transparency, or more axes.
    """
    if picture.ndim == 2:
        return picture
    samples = picture.shape[-1]
    if picture.ndim != 3 or samples not in (1, 2, 3, 4):
        raise WrongShapeError(f"{what} has shape {picture.shape}; a plane is (Y, X)", remedy="name one plane of it")
    colours, alpha = (picture, None) if samples in (1, 3) else (picture[..., :-1], picture[..., -1])
    if alpha is not None and (alpha != np.iinfo(picture.dtype).max).any():
        raise WrongShapeError(f"{what} is partly transparent", remedy="save it without alpha")
    if (colours != colours[..., :1]).any():
        raise WrongShapeError(f"{what} is a colour picture", remedy="save each channel as a grey image of its own")
    return colours[..., 0]
