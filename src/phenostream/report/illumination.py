"""Illumination functions as small pictures."""

from __future__ import annotations

import base64
import io
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from phenostream.report import colours
from phenostream.report.plates import number

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from phenostream.report.facts import Facts

_SHOWN = 12
_SIDE = 192
_MAX_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Shading:
    """One flat-field: plate, channel, picture, its range relative to its mean, and the range of the dark-field."""

    plate: str
    channel: str
    source: str
    image: str
    width: int
    height: int
    low: str
    high: str
    dark: str


def shadings(facts: Facts) -> list[Shading]:
    """The first twelve illumination functions; files that cannot be read are noted."""
    shown = []
    for plate, channel, path in facts.fits[:_SHOWN]:
        try:
            shown.append(_shading(plate, channel, path, facts.folder))
        except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
            facts.skip(path, error)
    return shown


def _shading(plate: str, channel: str, path: Path, folder: Path) -> Shading:
    arrays = _load(path)
    flat = arrays.get("flatfield")
    if flat is None or flat.ndim != 2 or not flat.size or not np.isfinite(flat).all() or flat.mean() <= 0:
        raise ValueError("no flat-field in it")
    relative = flat / flat.mean()
    step = max(1, -(-max(flat.shape) // _SIDE))
    small = relative[::step, ::step]
    low, high = float(relative.min()), float(relative.max())
    ends = (f"{low:.3f}", f"{high:.3f}", _range(arrays.get("darkfield")))
    source = path.relative_to(folder).as_posix()
    return Shading(plate, channel, source, _uri(small, low, high), small.shape[1], small.shape[0], *ends)


def _range(dark: NDArray[Any] | None) -> str:
    if dark is None or not np.any(dark):
        return "none"
    low, high = number(float(dark.min())), number(float(dark.max()))
    return low if low == high else f"{low} to {high}"


def _load(path: Path) -> dict[str, NDArray[Any]]:
    """The two arrays, without pickles."""
    with zipfile.ZipFile(path) as archive:
        if sum(info.file_size for info in archive.infolist()) > _MAX_BYTES:
            raise ValueError("it claims an absurd size")
    with np.load(path, allow_pickle=False) as saved:
        names = ("flatfield", "darkfield")
        return {name: np.atleast_1d(saved[name]).astype(float) for name in names if name in saved}


def _uri(values: NDArray[Any], low: float, high: float) -> str:
    share = (values - low) / (high - low) if high > low else np.full(values.shape, 0.5)
    image = Image.fromarray((share * 255).astype(np.uint8))
    image.putpalette(colours.table().tobytes())  # from greys to a palette
    sink = io.BytesIO()
    image.save(sink, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(sink.getvalue()).decode()}"
