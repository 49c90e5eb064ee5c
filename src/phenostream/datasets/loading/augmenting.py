"""From stored pixels to a network's input: a crop, a turn, a mirror, normalisation and a change of light.

What happens to a site follows from its key (seed, epoch, site) alone, whatever batch, process or thread it is in. All
that is done to intensities is one factor and one shift a channel, so that normalisation costs nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from phenostream.datasets.loading import dice
from phenostream.errors import WrongShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phenostream.datasets.loading.batches import Batch
    from phenostream.datasets.loading.normalising import Normalisation


class Augmentation(BaseModel):
    """What may happen to a site."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    crop: tuple[int, int] | None = Field(None, description="Pixels (y, x) that are kept.")
    place: Literal["random", "centre"] = Field("random", description="Of the crop.")
    mirror: bool = Field(True, description="Mirror half of the sites.")
    turn: bool = Field(True, description="Turn by a multiple of 90 degrees; by 180 where the crop is not square.")
    gain: float = Field(
        0.0, ge=0, description="Standard deviation of the logarithm of a factor for each channel, after normalisation."
    )
    offset: float = Field(
        0.0, ge=0, description="Standard deviation of a shift of each channel, in units of the normalised image."
    )


NOTHING = Augmentation(mirror=False, turn=False)


@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """What happens to each site of a batch.

    Attributes:
        size: (y, x) of the crop.
        top: (N,) first row.
        left: (N,) first column.
        mirror: (N,) whether columns are reversed.
        turn: (N,) quarter turns counter-clockwise, after mirroring.
        scale: (N, C) factor of the intensities, None where they stay as they are.
        shift: (N, C) added after that.
    """

    size: tuple[int, int]
    top: NDArray[np.int64]
    left: NDArray[np.int64]
    mirror: NDArray[np.bool_]
    turn: NDArray[np.int64]
    scale: NDArray[np.float32] | None
    shift: NDArray[np.float32] | None

    def keep(self, shape: tuple[int, ...]) -> bool:
        """Whether sites of `shape` (..., Y, X) stay as they are."""
        return self.size == shape[-2:] and self.scale is None and not (self.mirror.any() or self.turn.any())


@dataclass(frozen=True, slots=True, eq=False)
class Transform:
    """Normalisation and augmentation together.

    Attributes:
        normalisation: of each site; None: grey levels as they are.
        augmentation: what may happen.
    """

    normalisation: Normalisation | None = None
    augmentation: Augmentation = NOTHING

    def __call__(self, batch: Batch) -> NDArray[Any]:
        """The batch (N, C, y, x): float32 where intensities change, else in the type of the pack."""
        return moved(batch.pixels, self.moves(batch))

    def moves(self, batch: Batch) -> Moves:
        """What happens to each site. Raises WrongShapeError for a crop that is larger than the sites."""
        count, channels, y, x = batch.pixels.shape
        settings = self.augmentation
        height, width = settings.crop or (y, x)
        if height > y or width > x:
            raise WrongShapeError(f"a crop of {height} x {width} from {y} x {x}", remedy="crop less")
        draws = dice.uniforms(batch.keys, 4)
        spot = draws[:, :2] if settings.place == "random" else np.full((count, 2), 0.5)
        turns = np.floor(4 * draws[:, 2]).astype(np.int64) * settings.turn
        scale, shift = self._light(batch, channels)
        return Moves(
            (height, width),
            np.floor(spot[:, 0] * (y - height + 1)).astype(np.int64),
            np.floor(spot[:, 1] * (x - width + 1)).astype(np.int64),
            (draws[:, 3] < 0.5) & settings.mirror,
            turns if height == width else turns // 2 * 2,
            scale,
            shift,
        )

    def _light(self, batch: Batch, channels: int) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
        settings, told = self.augmentation, self.normalisation
        if told is None and not settings.gain and not settings.offset:
            return None, None
        random = dice.normals(dice.key(1, batch.keys), 2 * channels)
        gain = np.exp(settings.gain * random[:, :channels])
        offset = settings.offset * random[:, channels:]
        mean = told.mean[batch.sites] if told else np.zeros((1, channels))
        std = told.std[batch.sites] if told else np.ones((1, channels))
        return (gain / std).astype(np.float32), (offset - gain * mean / std).astype(np.float32)


def moved(pixels: NDArray[Any], moves: Moves) -> NDArray[Any]:
    """Do `moves` to `pixels` (N, C, Y, X); a new array (N, C, y, x), or `pixels` where there is nothing to do."""
    if moves.keep(pixels.shape):
        return pixels
    count, channels = pixels.shape[:2]
    out = np.empty((count, channels, *moves.size), pixels.dtype if moves.scale is None else np.float32)
    for site in range(count):
        view = _view(pixels[site], moves, site)
        if moves.scale is None or moves.shift is None:
            out[site] = view
        else:
            np.multiply(view, moves.scale[site][:, None, None], out=out[site])
            out[site] += moves.shift[site][:, None, None]
    return out


def _view(site: NDArray[Any], moves: Moves, number: int) -> NDArray[Any]:
    top, left = moves.top[number], moves.left[number]
    view = site[:, top : top + moves.size[0], left : left + moves.size[1]]
    if moves.mirror[number]:
        view = view[:, :, ::-1]
    return np.rot90(view, moves.turn[number], (1, 2))
