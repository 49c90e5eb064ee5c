"""`masks`: label images or binary masks that the user brings, one file a field."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field as Setting
from pydantic import field_validator
from scipy import ndimage

from phenostream import formats
from phenostream.errors import (
    HostileError,
    NotFoundError,
    OutOfRangeError,
    RecipeError,
    WrongDtypeError,
    WrongShapeError,
)
from phenostream.objects.plug import SegmenterSettings, digest_of
from phenostream.sources import LocalStore
from phenostream.values import Objects, Plane

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phenostream.values import Field, FieldId

VERSION = "1"
_NAMES = ("study", "plate", "well", "row", "column", "site", "time", "frame", "z")
_FORMATS = {".png": "png", ".tif": "tiff", ".tiff": "tiff"}
_WHITES = (1, 255, 65535)


class Settings(SegmenterSettings):
    """Settings of the segmenter that takes masks from a folder."""

    model: Literal["masks"] = "masks"
    folder: Path = Setting(description="Folder of the masks.")
    pattern: str = Setting(
        "{plate}_{well}_{site}.png",
        description=(
            "File of a field below the folder, PNG or TIFF. Names: study, plate, well (A4), row (A), column (4), site, "
            "time (from 0), frame (from 1), z; numbers take a width, {column:02d}."
        ),
    )
    kind: Literal["auto", "labels", "binary"] = Setting(
        "auto",
        description=(
            "labels: every number is an object. binary: every 8-connected patch is one. auto: binary where the only "
            "value besides 0 is 1, 255 or 65535."
        ),
    )

    @field_validator("pattern")
    @classmethod
    def pattern_names_an_image_of_a_field(cls, pattern: str) -> str:
        """A pattern is PNG or TIFF and holds no names but those of a field."""
        if Path(pattern).suffix.lower() not in _FORMATS:
            raise ValueError(f"pattern must end in one of: {', '.join(_FORMATS)}")
        for _, name, width, change in Formatter().parse(pattern):
            if name is not None and (name not in _NAMES or change or not re.fullmatch(r"(0?\d{1,2}d)?", width or "")):
                raise ValueError(f"{{{name}}} is not one of: {', '.join(_NAMES)}, with a width such as :02d")
        return pattern


def build(settings: Settings) -> Masks:
    """The segmenter of `settings`."""
    return Masks(settings)


class Masks:
    """Takes masks as they are; the numbers of label images stay."""

    def __init__(self, settings: Settings) -> None:
        """Keep the settings; masks are read field by field."""
        self.settings = settings
        # Where the folder lies is no part of the identity; what each mask holds is, in `Objects.model`.
        self.digest = digest_of(settings, VERSION, without=("folder",))

    def segment(self, field: Field) -> Objects:
        """The mask of `field`; `Objects.model` carries a hash of the labels beside the digest.

        Raises:
            NotFoundError: no mask of that name.
            WrongShapeError: mask and image differ in shape.
            WrongDtypeError: a mask that does not hold integers.
            HostileError: a name that leads out of the folder.
        """
        key = self._key(field.id)
        try:
            labels = self._labels(key, field.read().shape[1:])
        except (NotFoundError, WrongShapeError, WrongDtypeError, OutOfRangeError) as error:
            raise error.at(mask=str(self.settings.folder / key), plate=field.id.plate, well=field.id.well) from None
        content = hashlib.blake2b(np.ascontiguousarray(labels).tobytes(), digest_size=8).hexdigest()
        return Objects(field.id, labels, self.settings.compartment, f"{self.digest}-{content}")

    def _key(self, field: FieldId) -> str:
        key = _named(self.settings.pattern, _words(field))
        if any(part in {"", ".", ".."} for part in key.split("/")) or "\\" in key:
            raise HostileError(f"the mask of {field} would be {key!r}, outside its folder").at(plate=field.plate)
        return key

    def _labels(self, key: str, shape: tuple[int, ...]) -> NDArray[np.int32]:
        if not (self.settings.folder / key).is_file():
            raise NotFoundError(
                f"no mask {key} in {self.settings.folder}", remedy=f"check folder and pattern {self.settings.pattern!r}"
            )
        store = LocalStore(self.settings.folder)
        mask = formats.read(store, Plane(key, _FORMATS[Path(key).suffix.lower()]))
        if mask.shape != shape:
            raise WrongShapeError(f"mask {key} is {mask.shape}, its image {shape}", remedy="use masks at image size")
        return labels_of(mask, self.settings.kind)


def labels_of(mask: NDArray[Any], kind: Literal["auto", "labels", "binary"] = "auto") -> NDArray[np.int32]:
    """Labels (Y, X) int32 of a mask (Y, X), as `Settings.kind` says.

    Raises:
        WrongDtypeError: not integers.
        OutOfRangeError: numbers over those of int32.
    """
    if mask.dtype.kind not in "iub":
        raise WrongDtypeError(f"a mask holds integers, not {mask.dtype}", remedy="save it as an 8 or 16-bit image")
    inside = mask[mask > 0]
    top = int(inside.max(initial=0))
    if kind == "binary" or (kind == "auto" and top in _WHITES and bool((inside == top).all())):
        return np.asarray(ndimage.label(mask > 0, np.ones((3, 3)))[0], np.int32)
    if top > np.iinfo(np.int32).max:
        raise OutOfRangeError(f"label {top} is over {np.iinfo(np.int32).max}", remedy="renumber the objects")
    return np.where(mask > 0, mask, 0).astype(np.int32)


def _words(field: FieldId) -> dict[str, str]:
    split = re.fullmatch(r"([A-Za-z]+)0*(\d+)", field.well)
    row, column = (split[1], split[2]) if split else (field.well, "")
    named = {"study": field.study, "plate": field.plate, "well": field.well, "row": row, "column": column}
    return {**named, "site": field.site, "time": str(field.time), "frame": str(field.time + 1), "z": str(field.z)}


def _named(pattern: str, words: dict[str, str]) -> str:
    parts = []
    for text, name, width, _ in Formatter().parse(pattern):
        word = words[name] if name else ""
        if width and not word.isdecimal():
            raise RecipeError(f"{{{name}:{width}}} wants a number, not {word!r}", remedy=f"use {{{name}}} in pattern")
        parts.append(text + (format(int(word), width) if width else word))
    return "".join(parts)
