"""Single-cell crops to learn from, cut from images of any kind at one scale."""

from __future__ import annotations

import hashlib
import zipfile
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from phenostream import formats
from phenostream.errors import NotFoundError, RecipeError
from phenostream.features.deep.boxes import centroids
from phenostream.features.deep.gather import gather
from phenostream.features.scene import Scene
from phenostream.objects import segment
from phenostream.values import Plane

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_FORMATS = {"tif": "tiff", "tiff": "tiff", "png": "png"}
# Percentiles of an image that become 0 and 255.
_ENDS = (0.05, 99.95)
_LEAST_AREA = 20


class Source(BaseModel):
    """Images of one kind."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: str = Field(description="images, or zip files of them: a pattern below the data folder")
    share: float = Field(1.0, gt=0, description="how often crops of this source are drawn, relative to the others")
    cells: Literal["masks", "segment", "whole"] = Field(
        "segment",
        description="where the cells lie: in a label image whose path has `masks/` for the image's `images/`; "
        "as the classical segmenter finds them; or each image is a crop already",
    )
    most: int = Field(200, ge=1, description="crops of one image at most")


def read_crops(root: Path, source: Source, *, side: int, diameter: float, seed: int = 0) -> NDArray[np.uint8]:
    """All crops (N, side, side) of a source.

    Objects are shown at the scale at which the median object of their image has the given `diameter` in pixels; images
    that are crops already are taken as they are, mirrored at their edges where they are smaller than `side`.

    Raises:
        NotFoundError: no file, or no cell in any.
    """
    library = _Library(root, source.files)
    rng = np.random.default_rng(seed)
    found = []
    for key in library.images:
        image = _eight_bits(library.image(key)) if source.cells != "whole" else library.image(key)
        if source.cells == "whole":
            found.append(_widened(image, side)[None])
            continue
        labels = (
            library.image(key.replace("images/", "masks/")) if source.cells == "masks" else segment(image, "classical")
        )
        found.append(_around(image, labels.astype(np.int32), side, diameter, source.most, rng))
    crops: NDArray[np.uint8] = np.concatenate([np.zeros((0, side, side), np.uint8), *found])
    if not len(crops):
        raise NotFoundError(f"no cells in {root / source.files}")
    return crops


def hashes(root: Path, sources: Sequence[Source]) -> dict[str, str]:
    """SHA-256 of every file of the sources, by its path below `root`."""
    paths = sorted({path for source in sources for path in _paths(root, source.files)})
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def _paths(root: Path, pattern: str) -> list[Path]:
    found = sorted(path for path in root.glob(pattern) if path.is_file())
    if not found:
        raise NotFoundError(f"no file {pattern} below {root}", remedy="correct `data` or `files`")
    return found


class _Library:
    """Image files and the members of zip files under one namespace; a store, as formats read from."""

    def __init__(self, root: Path, pattern: str) -> None:
        self._files = _paths(root, pattern)

    @cached_property
    def _members(self) -> dict[str, tuple[Path, str]]:
        found = {}
        for path in self._files:
            if path.suffix == ".zip":
                with zipfile.ZipFile(path) as archive:
                    found.update({name: (path, name) for name in archive.namelist() if _ending(name) in _FORMATS})
            else:
                found[path.name] = (path, "")
        return found

    @property
    def images(self) -> list[str]:
        """Names of the images, sorted; label images are left out."""
        return sorted(name for name in self._members if "masks/" not in name)

    def image(self, key: str) -> NDArray[Any]:
        """The first plane (Y, X) of an image."""
        if key not in self._members:
            raise NotFoundError(f"no image {key}", remedy="are the label images beside it?")
        return formats.read(self, Plane(key, _FORMATS[_ending(key)]))

    def read(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        path, member = self._members[key]
        if not member:
            return path.read_bytes()[start:stop]
        with zipfile.ZipFile(path) as archive:
            return archive.read(member)[start:stop]

    def size(self, key: str) -> int:
        return len(self.read(key))

    def keys(self, prefix: str = "") -> Iterator[str]:
        return (key for key in self.images if key.startswith(prefix))


def _ending(name: str) -> str:
    return name.rpartition(".")[2].lower()


def _eight_bits(image: NDArray[Any]) -> NDArray[np.uint8]:
    low, high = np.percentile(image, _ENDS)
    scaled = (image.astype(np.float32) - low) / max(high - low, 1e-6)
    eight: NDArray[np.uint8] = (np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    return eight


def _widened(crop: NDArray[Any], side: int) -> NDArray[np.uint8]:
    if crop.dtype != np.uint8 or crop.shape[0] != crop.shape[1]:
        raise RecipeError(f"a crop of {crop.dtype} {crop.shape} is no square of 8 bits", remedy="cells: segment")
    before = (side - len(crop)) // 2
    if before < 0:
        crop = crop[-before : side - before, -before : side - before]
        before = 0
    return np.pad(crop, (before, side - len(crop) - before), mode="reflect").astype(np.uint8)


def _around(
    image: NDArray[np.uint8],
    labels: NDArray[np.int32],
    side: int,
    diameter: float,
    most: int,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Crops around at most `most` objects, drawn at random where there are more."""
    scene = Scene(image, labels)
    told = centroids(scene.labels, len(scene))
    told = told[told[:, 2] >= _LEAST_AREA]
    if not len(told):
        return np.zeros((0, side, side), np.uint8)
    typical = float(np.median(np.sqrt(told[:, 2] * 4 / np.pi)))
    told = told[np.sort(rng.permutation(len(told))[:most])]
    sides = np.full(len(told), side * typical / diameter)
    limits = np.broadcast_to(np.array([0, 255], np.float32), (len(told), 1, 2))
    stack = image[None].astype(np.float32)
    corners = told[:, :2] - (sides[:, None] - 1) / 2
    crops = gather(
        stack, corners, sides, side, scene.labels, np.zeros(len(told), np.int32), np.ascontiguousarray(limits)
    )
    return np.rint(crops[:, 0] * 255).astype(np.uint8)
