"""The illumination step of idrstream, for comparison with its published profiles.

It differs from `fit_illumination` on purpose: the model comes from three successive frames of the same movie, the
frame's own brightness is subtracted, and the three frames are stretched together to 8 bits, so that absolute intensity
is lost and one bright pixel dims the whole field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from phenostream.errors import EmptyError
from phenostream.images.illumination import fit_illumination

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_FRAMES = 3


def idrstream(stack: NDArray[Any]) -> NDArray[np.uint8]:
    """Correct a short stack as idrstream does.

    BaSiC with dark-field on the stack itself, ``(I - dark) / flat - baseline``, negatives to 0, divided by the maximum
    of the whole stack, times 255, cut to integers.

    Args:
        stack: (N, Y, X), N >= 3: the frames f, f + 1, f + 2 for one frame asked (or the last three), or a whole movie.

    Returns:
        (N, Y, X) uint8.

    Raises:
        EmptyError: fewer than three frames.
        WrongShapeError, WrongDtypeError, DamagedError: see `fit_illumination`.
    """
    model = fit_illumination(stack, darkfield=True)
    frames = np.asarray(stack)
    if len(frames) < LEAST_FRAMES:
        raise EmptyError(
            f"idrstream's correction needs {LEAST_FRAMES} frames, this stack has {len(frames)}",
            remedy="use the method `basic` or `none`",
        )
    corrected = model.apply(frames.astype(np.float64)) - model.baseline[:, None, None].astype(np.float64)
    corrected = np.maximum(corrected, 0)
    top = corrected.max()
    stretched: NDArray[np.uint8] = (corrected / top * 255 if top > 0 else corrected).astype(np.uint8)
    return stretched
