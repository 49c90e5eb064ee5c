"""A few fields as pictures, with the outlines of what was found in them."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from phenostream.errors import PhenostreamError
from phenostream.profiles import part_schema, read_part

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL import Image

    from phenostream.report.facts import Seen
    from phenostream.report.pictures import Pictures

_SIDE = 320
_PATH_CHARACTERS = 80_000


@dataclass(frozen=True, slots=True)
class Picture:
    """One field as shown: where it is from, why it was chosen, the picture, its outlines as an SVG path.

    `apart` says that red, green and blue are one channel each, which the page tints.
    """

    plate: str
    well: str
    site: str
    frame: int
    cells: int
    why: str
    source: str
    width: int
    height: int
    image: str
    outlines: str
    apart: bool = True


def montage(pictures: Pictures, count: int) -> list[Picture]:
    """At most `count` fields: the extremes first, the others evenly over the plan, shown in the order of the plan."""
    shown = []
    for seen, why in choose(pictures.facts.fields, count):
        try:
            picture = _picture(seen, why, pictures)
        except (PhenostreamError, OSError) as error:
            pictures.skip(seen.part, error)
            continue
        if picture:
            shown.append(picture)
    return shown


def choose(fields: Sequence[Seen], count: int) -> list[tuple[Seen, str]]:
    """Which fields to show and why."""
    if not fields or count < 1:
        return []
    picked: dict[int, str] = {}
    indices = range(len(fields))
    if len(fields) > count >= 6:
        picked[max(indices, key=lambda i: fields[i].rows)] = "most cells"
        picked.setdefault(min(indices, key=lambda i: fields[i].rows), "fewest cells")
        focused = [i for i in indices if fields[i].focus is not None]
        if focused:
            picked.setdefault(min(focused, key=lambda i: fields[i].focus or 0.0), "lowest focus")
            picked.setdefault(max(focused, key=lambda i: fields[i].focus or 0.0), "highest focus")
    for index in np.linspace(0, len(fields) - 1, min(count, len(fields))).round().astype(int).tolist():
        if len(picked) < count:
            picked.setdefault(index, "")
    return [(fields[index], picked[index]) for index in sorted(picked)]


def _picture(seen: Seen, why: str, pictures: Pictures) -> Picture | None:
    source = seen.part.relative_to(pictures.folder).as_posix()
    made = pictures.get(source)
    if made is None:
        return None
    image = made.image.copy()
    image.thumbnail((_SIDE, _SIDE))
    path = _outlines(seen.part, made.scale * image.width / made.image.width)
    place = (seen.plate, seen.well, seen.site, seen.frame, seen.rows)
    return Picture(*place, why, source, image.width, image.height, _uri(image), path, made.apart)


def _uri(image: Image.Image) -> str:
    """WebP: what browsers open and half of a JPEG; channels stay sharp enough to be told apart."""
    sink = io.BytesIO()
    image.save(sink, "WEBP", quality=82, method=4)
    return f"data:image/webp;base64,{base64.b64encode(sink.getvalue()).decode()}"


def _outlines(part: Path, scale: float) -> str:
    names = [name for name in part_schema(part).names if name.endswith(("_Outline_X", "_Outline_Y"))]
    if not scale or len(names) < 2:
        return ""
    table = read_part(part, sorted(names)[:2])
    rings = list(zip(table.column(0).to_pylist(), table.column(1).to_pylist(), strict=True))
    path = ""
    for steps in (2.0, 1.0, 0.5, 0.25):  # every cell is drawn: a crowded field gets coarser lines, never fewer
        path = "".join(outline_path(x or (), y or (), scale, steps=steps) for x, y in rings)
        if len(path) <= _PATH_CHARACTERS:
            break
    return path


def outline_path(x: Sequence[int], y: Sequence[int], scale: float, *, steps: float = 2.0) -> str:
    """A closed SVG path through pixel centres (`x`, `y`), scaled, `steps` to a pixel, points that repeat left out."""
    if not x:
        return ""
    points = np.round((np.column_stack([x, y]) + 0.5) * scale * steps) / steps
    changed = np.any(np.diff(points, axis=0, prepend=points[-1:]), axis=1)
    kept: Any = points[changed] if changed.any() else points[:1]
    return "M" + "L".join(f"{a:g} {b:g}" for a, b in kept.tolist()) + "Z"
