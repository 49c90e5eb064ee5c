"""Illumination: uneven light and dark offset of a microscope, fitted from many frames, saved, and taken out of any.

A camera sees ``I = flat * object + dark``. The flat-field (mean 1) is how much of the mean light reaches each pixel,
the dark-field is what the camera says without light. Both are found by BaSiC (Peng et al. 2017, Nature Communications
8:14836) from frames of many fields; see `docs/illumination.md` for when to trust which.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from phenostream import disk
from phenostream.errors import (
    DamagedError,
    EmptyError,
    NotFoundError,
    OutOfRangeError,
    TooLargeError,
    WrongDtypeError,
    WrongShapeError,
)
from phenostream.images import _archive
from phenostream.images._basic import BasicOptions, Shading, baseline, decompose
from phenostream.images._resample import resize

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

VERSION: Final = "1"
"""Code version of the correction: raised when the same frames would give another model or other pixels."""

_NAMES: Final = frozenset({"flatfield", "darkfield", "baseline", "shape"})
_LEAST_FLAT: Final = 0.01
_MAX_SIDE: Final = 1 << 16


class IlluminationSettings(BaseModel):
    """How uneven illumination is taken out of each field (the recipe's step `correct`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["basic", "idrstream", "none"] = Field(
        "basic",
        description=(
            "`basic` fits one flat-field per plate and channel and keeps absolute intensity; `idrstream` reproduces "
            "that tool: three successive frames, stretched together to 8 bits; `none` leaves pixels as they are"
        ),
    )
    darkfield: bool = Field(
        False,
        description=(
            "fit a dark-field too (method `basic`): for dim fluorescence over a camera offset; needs frames of "
            "different brightness, and can make the flat-field worse where there is no offset"
        ),
    )
    frames: int = Field(
        48, ge=1, le=10_000, description="frames sampled for the fit, per plate and channel (method `basic`)"
    )
    working_size: int = Field(
        128, ge=16, le=512, description="side in pixels of the square at which the fit works (method `basic`)"
    )


@dataclass(frozen=True, eq=False)
class IlluminationModel:
    """Flat-field, dark-field and baseline of one microscope, channel and plate.

    Attributes:
        flat: flat-field as fitted (h, w) float32, mean 1; `flatfield` is the same at full size.
        dark: dark-field as fitted (h, w) float32, in units of intensity.
        baseline: (N,) float32, brightness of each fitted frame without shading and objects, in units of intensity.
        shape: (Y, X) of the frames it corrects.
    """

    flat: NDArray[np.float32]
    dark: NDArray[np.float32]
    baseline: NDArray[np.float32]
    shape: tuple[int, int]

    @classmethod
    def of(
        cls, flatfield: NDArray[Any], darkfield: NDArray[Any] | None = None, baseline: NDArray[Any] | None = None
    ) -> Self:
        """A model from fields measured elsewhere, for example with a fluorescent slide.

        Args:
            flatfield: (Y, X), positive, of any scale: it is divided by its mean.
            darkfield: (Y, X) in units of intensity; none: zero.
            baseline: (N,) in units of intensity; none: empty.

        Raises:
            WrongShapeError: not two axes, or two shapes.
            DamagedError: NaN, infinite, or a flat-field whose mean is not positive.
        """
        flat = np.asarray(flatfield, np.float64)
        dark = np.zeros_like(flat) if darkfield is None else np.asarray(darkfield, np.float64)
        light = np.zeros(0) if baseline is None else np.asarray(baseline, np.float64)
        if flat.ndim != 2 or dark.shape != flat.shape or light.ndim != 1:
            raise WrongShapeError(
                f"flat-field {flat.shape}, dark-field {dark.shape}, baseline {light.shape}",
                remedy="give (Y, X), (Y, X) and (N,)",
            )
        if not all(np.isfinite(one).all() for one in (flat, dark, light)) or not flat.size or not flat.mean() > 0:
            raise DamagedError("an illumination model must be finite, its flat-field of positive mean")
        single = np.float32
        return cls(
            (flat / flat.mean()).astype(single), dark.astype(single), light.astype(single), (len(flat), flat.shape[1])
        )

    @cached_property
    def flatfield(self) -> NDArray[np.float32]:
        """Flat-field at full size, (Y, X) float32, mean 1."""
        full = resize(self.flat, self.shape)
        full /= full.mean()
        return full.astype(np.float32)

    @cached_property
    def darkfield(self) -> NDArray[np.float32]:
        """Dark-field at full size, (Y, X) float32, in units of intensity."""
        return resize(self.dark, self.shape).astype(np.float32)

    @property
    def digest(self) -> str:
        """SHA-256 of the content, 64 hex digits."""
        return _archive.digest(self._arrays())

    def apply(self, image: NDArray[Any], *, frame: int | None = None) -> NDArray[Any]:
        """Take the illumination out of an image: ``(image - dark) / flat``, in the image's own dtype and units.

        Absolute intensity is kept, because the flat-field has mean 1: no stretch, no clipping but to the range of an
        integer dtype, whose values are rounded half to even. Where the flat-field is under 0.01 it counts as 0.01.

        Args:
            image: (..., Y, X), integer or floating point.
            frame: position of this image among the fitted frames of a time lapse. When given, the frame's drift
                ``baseline[frame] - mean(baseline)`` is subtracted too. Off by default: the brightness of different
                fields differs because their cells do, and only in a time lapse of one field is it drift.

        Returns:
            an array of the same shape and dtype.

        Raises:
            WrongShapeError: the last two axes are not the model's `shape`.
            WrongDtypeError: neither integer nor floating point.
            OutOfRangeError: no such frame was fitted.
        """
        pixels = np.asarray(image)
        _check_numeric(pixels.dtype)
        if pixels.ndim < 2 or pixels.shape[-2:] != self.shape:
            raise WrongShapeError(
                f"an image of {pixels.shape} does not fit an illumination model of {self.shape}",
                remedy="fit a model for frames of this size",
            )
        precise: type[np.floating[Any]] = (
            np.float32 if pixels.dtype.itemsize <= 2 or pixels.dtype == np.float32 else np.float64
        )
        corrected: NDArray[np.floating[Any]] = pixels.astype(precise)
        corrected -= self.darkfield
        corrected /= np.maximum(self.flatfield, np.float32(_LEAST_FLAT))
        if frame is not None:
            corrected -= precise(self._drift(frame))
        return _as(pixels.dtype, corrected)

    def to_bytes(self) -> bytes:
        """The model as a .npz without pickles; equal models give equal bytes."""
        return _archive.pack(self._arrays())

    @classmethod
    def from_bytes(cls, payload: bytes) -> Self:
        """The model of `to_bytes`, its hash checked.

        Raises:
            DamagedError: not such a model, or its content does not match its hash.
            HostileError: it holds Python objects.
            TooLargeError: over 256 MB, or a frame of more than 65536 pixels a side.
        """
        arrays = _archive.unpack(payload, _NAMES)
        flat, dark, light = (arrays[name] for name in ("flatfield", "darkfield", "baseline"))
        shape = arrays["shape"]
        if shape.shape != (2,) or shape.dtype.kind != "i" or not (shape > 0).all():
            raise DamagedError("an illumination model without a frame size", remedy="fit it again")
        if (shape > _MAX_SIDE).any():
            raise TooLargeError(f"an illumination model for frames of {tuple(shape.tolist())} pixels")
        fits = flat.ndim == 2 and flat.size and dark.shape == flat.shape and light.ndim == 1
        if not fits or any(one.dtype != np.float32 or not np.isfinite(one).all() for one in (flat, dark, light)):
            raise DamagedError("an illumination model whose arrays do not fit together", remedy="fit it again")
        return cls(flat, dark, light, (int(shape[0]), int(shape[1])))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the model to `path` (a .npz), whole or not at all; saving twice gives the same file."""
        target = Path(path)
        with disk.replacing(target) as temporary:
            temporary.write_bytes(self.to_bytes())
        return target

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a saved model.

        Raises:
            NotFoundError: no such file.
            DamagedError, HostileError, TooLargeError: see `from_bytes`.
        """
        target = Path(path)
        try:
            with target.open("rb") as file:
                payload = file.read(_archive.MAX_BYTES + 1)
        except FileNotFoundError as error:
            raise NotFoundError(f"no illumination model at {target}", remedy="fit one and save it") from error
        try:
            return cls.from_bytes(payload)
        except (DamagedError, TooLargeError) as error:
            raise error.at(file=target) from error.__cause__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IlluminationModel) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "flatfield": self.flat, "darkfield": self.dark, "baseline": self.baseline,
            "shape": np.array(self.shape, np.int64),
        }  # fmt: skip

    def _drift(self, frame: int) -> float:
        if not 0 <= frame < len(self.baseline):
            raise OutOfRangeError(
                f"frame {frame} of {len(self.baseline)} fitted frames", remedy="give the position in the fitted stack"
            )
        return float(self.baseline[frame]) - float(self.baseline.mean(dtype=np.float64))


def fit_illumination(
    stack: NDArray[Any],
    darkfield: bool = True,  # noqa: FBT001, FBT002 - the stable public signature
    *,
    shape: tuple[int, int] | None = None,
    working_size: int = 128,
    options: BasicOptions | None = None,
) -> IlluminationModel:
    """Fit flat-field, dark-field and baseline to frames of one channel by BaSiC.

    Frames are shrunk to a square of `working_size` pixels (see `shrink`), fitted, and the fields enlarged again on
    demand. A stack without structure, all pixels equal, gives a flat-field of 1 and a dark-field of 0.

    Args:
        stack: (N, Y, X) of any integer or floating-point dtype, or frames already shrunk, (N, working_size,
            working_size), together with `shape`.
        darkfield: fit a dark-field too; without it the dark-field is 0.
        shape: (Y, X) of the frames before they were shrunk; by default that of `stack`. With it, a fit of shrunk
            frames equals the fit of the full ones.
        working_size: side of the square at which the fit works, pixels.
        options: parameters of the decomposition.

    Returns:
        the model, for frames of `shape`.

    Raises:
        EmptyError: no frame, or frames without pixels.
        WrongShapeError: not three axes, or `shape` with frames that are not at working size.
        WrongDtypeError: neither integer nor floating point.
        DamagedError: NaN or infinite pixels, or a mean intensity that is not positive.

    References:
        Peng et al. 2017, "A BaSiC tool for background and shading correction of optical microscopy images", Nature
        Communications 8:14836.
    """
    frames = _checked(stack)
    square = (working_size, working_size)
    if shape is not None and frames.shape[1:] != square:
        raise WrongShapeError(
            f"shape is for frames already shrunk to {square}, these are {frames.shape[1:]}",
            remedy="leave shape out, or shrink them",
        )
    full = shape or (frames.shape[1], frames.shape[2])
    small = np.stack([shrink(frame, working_size) for frame in frames])
    shading, light = _fit(small, darkfield, options or BasicOptions())
    single = np.float32
    return IlluminationModel(
        shading.flatfield.astype(single), shading.darkfield.astype(single), light.astype(single),
        (int(full[0]), int(full[1])),
    )  # fmt: skip


def shrink(image: NDArray[Any], working_size: int = 128) -> NDArray[np.float32]:
    """One frame at the size at which illumination is fitted.

    Args:
        image: (Y, X), integer or floating point.
        working_size: side of the square, pixels.

    Returns:
        (working_size, working_size) float32: smoothed against aliasing, bilinear, both axes to the same side.

    Raises:
        WrongShapeError: not two axes.
        WrongDtypeError: neither integer nor floating point.
        EmptyError: no pixels.
    """
    pixels = np.asarray(image)
    _check_numeric(pixels.dtype)
    if pixels.ndim != 2:
        raise WrongShapeError(f"an image of {pixels.ndim} axes cannot be shrunk", remedy="give (Y, X)")
    if not pixels.size:
        raise EmptyError("an image without pixels")
    return resize(pixels, (working_size, working_size)).astype(np.float32)


def _fit(small: NDArray[np.float32], darkfield: bool, options: BasicOptions) -> tuple[Shading, NDArray[np.float64]]:  # noqa: FBT001
    if small.min() == small.max():
        nothing = np.zeros(small.shape[1:])
        return Shading(nothing + 1, nothing), small.mean(axis=(1, 2), dtype=np.float64)
    if not small.mean(dtype=np.float64) > 0:
        raise DamagedError("frames whose mean intensity is not positive", remedy="do not subtract a background before")
    shading = decompose(small, darkfield=darkfield, options=options)
    return shading, baseline(small, shading)


def _checked(stack: NDArray[Any]) -> NDArray[Any]:
    frames = np.asarray(stack)
    _check_numeric(frames.dtype)
    if frames.ndim != 3:
        raise WrongShapeError(
            f"a stack of {frames.ndim} axes cannot be fitted", remedy="give frames of one channel, (N, Y, X)"
        )
    if not frames.size:
        raise EmptyError(f"a stack of {frames.shape} has nothing to fit", remedy="give at least one frame")
    if frames.dtype.kind == "f" and not np.isfinite(frames).all():
        raise DamagedError("a stack with NaN or infinite pixels", remedy="leave such frames out")
    return frames


def _check_numeric(dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "iuf":
        raise WrongDtypeError(f"pixels of type {dtype}", remedy="give integers or floating-point numbers")


def _as(dtype: np.dtype[Any], values: NDArray[Any]) -> NDArray[Any]:
    if dtype.kind == "f":
        return values.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    # The largest 64-bit integers have no float of their own; the next lower one is the most that can be cast back.
    top = limits.max if dtype.itemsize < 8 else np.nextafter(float(limits.max), 0)
    whole: NDArray[Any] = np.clip(np.rint(values), limits.min, top).astype(dtype)
    return whole
