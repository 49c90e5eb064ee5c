"""Images with hand-drawn instance masks, read from zip files or folders."""

from __future__ import annotations

import hashlib
import io
import zipfile
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tifffile

from phenostream.errors import NotFoundError, WrongShapeError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_IMAGES, _MASKS = "images", "masks"


class Picture(NamedTuple):
    """One annotated image.

    Attributes:
        name: the file's stem.
        image: (Y, X), as it was stored.
        labels: (Y, X) int32; 0 is background.
    """

    name: str
    image: NDArray[Any]
    labels: NDArray[np.int32]


def read_pictures(folder: Path) -> list[Picture]:
    """All pairs ``images/<name>.tif`` and ``masks/<name>.tif`` below `folder` or in its zip files, sorted by name.

    Raises:
        NotFoundError: there are none, or an image lacks its mask or a mask its image.
        WrongShapeError: an image and its mask are not (Y, X) of one shape.
    """
    found: dict[str, dict[str, NDArray[Any]]] = {}
    for kind, name, data in _files(folder):
        found.setdefault(name, {})[kind] = tifffile.imread(io.BytesIO(data))
    if not found:
        raise NotFoundError(f"no images/*.tif with masks/*.tif in {folder}", remedy="set settings.data to their folder")
    return [_picture(name, pair) for name, pair in sorted(found.items())]


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of each zip file in `folder`, or of each TIFF file where there is none, by its name below `folder`."""
    files = sorted(folder.glob("*.zip")) or sorted(folder.rglob("*.tif"))
    return {file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _picture(name: str, pair: dict[str, NDArray[Any]]) -> Picture:
    if len(pair) < 2:
        raise NotFoundError(f"{name} has only its {next(iter(pair))}", remedy="give image and mask the same name")
    image, labels = pair[_IMAGES], pair[_MASKS]
    if image.ndim != 2 or image.shape != labels.shape:
        raise WrongShapeError(f"{name}: image {image.shape} and mask {labels.shape} are not one (Y, X)")
    return Picture(name, image, labels.astype(np.int32))


def _files(folder: Path) -> Iterator[tuple[str, str, bytes]]:
    """Kind, name and content of every image and mask."""
    for path in sorted(folder.glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            for entry in archive.namelist():
                parts = entry.split("/")
                if entry.endswith(".tif") and len(parts) > 1 and parts[-2] in {_IMAGES, _MASKS}:
                    yield parts[-2], parts[-1].removesuffix(".tif"), archive.read(entry)
    for path in sorted(folder.rglob("*.tif")):
        if path.parent.name in {_IMAGES, _MASKS}:
            yield path.parent.name, path.stem, path.read_bytes()
