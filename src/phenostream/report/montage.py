"""A few fields as pictures, with the outlines of what was found in them."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from phenostream import images
from phenostream.errors import PhenostreamError
from phenostream.profiles import part_metadata, part_schema, read_part

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from phenostream.report.facts import Facts, Seen

_SIDE = 320
_PNG_BYTES = 48_000
_PATH_CHARACTERS = 80_000


@dataclass(frozen=True, slots=True)
class Picture:
    """One field as shown: where it is from, why it was chosen, the picture, its outlines as an SVG path.

    `channels` names each channel of a colour picture with its colour (``#rrggbb``); empty for a grey one.
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
    channels: Sequence[tuple[str, str]] = ()


def montage(facts: Facts, count: int) -> list[Picture]:
    """At most `count` fields: the extremes first, the others evenly over the plan, shown in the order of the plan."""
    shown = []
    for seen, why in choose(facts.fields, count):
        try:
            picture = _picture(seen, why, facts.folder)
        except (PhenostreamError, OSError) as error:
            facts.skip(seen.part, error)
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


def _picture(seen: Seen, why: str, folder: Path) -> Picture | None:
    told = part_metadata(seen.part)
    thumbnail = told.get("phenostream.thumbnail")
    if not thumbnail:
        return None
    with Image.open(io.BytesIO(thumbnail), formats=["WEBP", "PNG"]) as opened:
        opened.thumbnail((_SIDE, _SIDE))
        image = opened.convert("L" if opened.mode in {"1", "L", "I", "I;16"} else "RGB")
    source = seen.part.relative_to(folder).as_posix()
    identity = _identity(told)
    path = _outlines(seen.part, _scale(identity, image.width))
    channels = _channels(identity) if image.mode == "RGB" else ()
    place = (seen.plate, seen.well, seen.site, seen.frame, seen.rows)
    return Picture(*place, why, source, image.width, image.height, _uri(image), path, channels)


def _uri(image: Image.Image) -> str:
    """PNG where that is small, else JPEG."""
    sink = io.BytesIO()
    image.save(sink, "PNG", optimize=True)
    kind = "png"
    if sink.tell() > _PNG_BYTES:
        sink, kind = io.BytesIO(), "jpeg"
        image.save(sink, "JPEG", quality=86)
    return f"data:image/{kind};base64,{base64.b64encode(sink.getvalue()).decode()}"


def _identity(told: dict[str, bytes]) -> dict[str, Any]:
    """What the part says of its field, empty where it says nothing."""
    try:
        found = json.loads(told.get("phenostream.field", b"{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _scale(identity: dict[str, Any], width: int) -> float:
    """Thumbnail pixels a pixel of the field; 0 where the part does not say how large the field was."""
    try:
        return width / float(identity["shape"][-1])
    except (KeyError, ValueError, TypeError, IndexError, ZeroDivisionError):
        return 0.0


def _channels(identity: dict[str, Any]) -> list[tuple[str, str]]:
    known = identity.get("channels")
    names = [str(one.get("name", "")) for one in known if isinstance(one, dict)] if isinstance(known, list) else []
    colours = images.default_colours(len(names)) if names else ()
    tints = ["#{:02x}{:02x}{:02x}".format(*images.COLOURS[colour]) for colour in colours]
    return list(zip(names, tints, strict=True))


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
