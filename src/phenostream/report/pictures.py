"""Pictures of fields: from the images themselves where they lie on this machine unchanged, else from the thumbnails.

Channels are kept apart: the red, green and blue of a picture are its first three channels, and the page tints them.
Nothing is ever fetched over a network.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from phenostream import formats, images
from phenostream.errors import PhenostreamError
from phenostream.profiles import part_metadata
from phenostream.sources import open_store
from phenostream.sources.stores import LocalStore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from phenostream import values
    from phenostream.report.facts import Facts
    from phenostream.stream.packed import Units

#: Channels that one picture can hold apart.
APART = 3
_MOST_PIXELS = 1_200_000_000
_MOST_UNITS = 20_000
_HEADROOM = 1.15


@dataclass(frozen=True, slots=True)
class Picture:
    """One field.

    Attributes:
        image: ``L`` where the run has one channel, else ``RGB``: red, green and blue are its first three channels.
        scale: picture pixels a pixel of the field.
        apart: whether they are; else the colours are mixed, as the run kept them.
        identity: what the part says of its field.
    """

    image: Image.Image
    scale: float
    apart: bool
    identity: Mapping[str, Any]


@dataclass(slots=True)
class Pictures:
    """The pictures of a run.

    Attributes:
        channels: names of the channels that are shown, three at most.
        words: where the pictures come from, a sentence for the page.
        units, store, positions, models: the run's plan, where its images lie, the place of each part in it, and the
            illumination of each plate and channel; None or empty where pictures are the thumbnails.
        last: the part asked for last, and its picture.
        limits: intensities drawn black and white, by channel, where pictures are made from the images themselves.
    """

    facts: Facts
    channels: tuple[str, ...]
    words: str = ""
    limits: dict[str, tuple[float, float]] = field(default_factory=dict)
    units: Units | None = None
    store: LocalStore | None = None
    positions: dict[str, int] = field(default_factory=dict)
    models: dict[tuple[str, str], Any] = field(default_factory=dict)
    last: tuple[str, Picture | None] = ("", None)

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.facts.folder

    def skip(self, path: Path, error: Exception) -> None:
        """Note a part that cannot be read."""
        self.facts.skip(path, error)

    def get(self, part: str) -> Picture | None:
        """The picture of the field of `part`; None where there is none or it cannot be read."""
        if self.last[0] != part:
            self.last = part, self._make(part)
        return self.last[1]

    def _make(self, part: str) -> Picture | None:
        path = self.folder / part
        try:
            told = part_metadata(path)
            identity = _identity(told)
            return self._from_source(part, identity) or _from_thumbnail(told, identity, self.channels)
        except (PhenostreamError, OSError) as error:
            self.skip(path, error)
            return None

    def _from_source(self, part: str, identity: Mapping[str, Any]) -> Picture | None:
        position = self.positions.get(part)
        if self.units is None or self.store is None or position is None:
            return None
        one = self.units[position].field
        try:
            stack = formats.attach(one, self.store).read()
        except (PhenostreamError, OSError):
            return None
        planes = {
            channel.name: images.to_8bit(
                self._corrected(plane, one, channel.name), limits=self.limits.get(channel.name)
            )
            for plane, channel in zip(stack, one.channels, strict=False)
            if channel.name in self.channels
        }
        return Picture(_arranged(planes, self.channels), 1.0, apart=True, identity=identity) if planes else None

    def _corrected(self, plane: NDArray[Any], one: values.Field, channel: str) -> NDArray[Any]:
        model = self.models.get((one.id.plate, channel))
        if isinstance(model, Path):
            try:
                model = images.IlluminationModel.load(model)
            except (PhenostreamError, OSError, ValueError):
                model = None
            self.models[one.id.plate, channel] = model
        return model.apply(plane) if model is not None and model.shape == plane.shape else plane


def open_pictures(facts: Facts, parts: Sequence[str]) -> Pictures:
    """The pictures of a run, of which `parts` will be looked at.

    The images themselves are read where the recipe's source is a folder of this machine, planning it again names the
    same units (so that no file has changed since), there are at most 20,000 of them, and the wanted fields have at most
    1.2 billion pixels together.
    """
    made = Pictures(
        facts,
        _shown(facts, parts),
        "Pictures are the thumbnails that the run kept, each stretched in brightness on its own.",
    )
    known = {seen.part.relative_to(facts.folder).as_posix(): seen for seen in facts.fields}
    first = known.get(parts[0]) if parts else None
    if first is None or facts.inputs > _MOST_UNITS or "recipe" not in facts.record:
        return made
    try:
        size = _pixels(part_metadata(first.part))
        if not size or size * len(parts) > _MOST_PIXELS or not _replan(made):
            return made
    except (PhenostreamError, OSError, ValueError, KeyError, TypeError):
        return made
    positions = {made.units.key(place): place for place in range(len(made.units))} if made.units else {}
    made.positions = {part: positions[seen.key] for part, seen in known.items() if seen.key in positions}
    if not made.positions:
        return made
    made.models = {(plate, channel): path for plate, channel, path in facts.fits}
    made.limits = _limits(facts)
    told = "; ".join(f"{name} {low:,.0f} to {high:,.0f}" for name, (low, high) in made.limits.items())
    made.words = "Pictures are cut from the images themselves, corrected for illumination" + (
        f", black to white the same in all of them ({told})." if told else "."
    )
    return made


def tints(channels: int) -> list[str]:
    """Colours of so many channels, as ``#rrggbb``, that readers with colour vision deficiency tell apart."""
    names = images.default_colours(channels) if channels else ()
    return ["#{:02x}{:02x}{:02x}".format(*images.COLOURS[name]) for name in names]


def _replan(made: Pictures) -> bool:
    """Plan the recorded recipe again where its source is a folder of this machine."""
    from phenostream.sources import catalogs  # noqa: PLC0415  (the catalogs of a run are needed for its pictures alone)
    from phenostream.stream import Recipe  # noqa: PLC0415
    from phenostream.stream.plan import make_plan  # noqa: PLC0415

    recipe = Recipe.load(made.facts.record["recipe"])
    base = catalogs.base(recipe.source)
    store = None if "://" in str(base) else open_store(base)
    if not isinstance(store, LocalStore):
        return False
    made.store, made.units = store, make_plan(recipe, store).units
    return True


def _limits(facts: Facts) -> dict[str, tuple[float, float]]:
    """Black and white of each channel: the median of the fields' 1st percentiles and beyond most of their 99th."""
    found = {}
    for name in facts.ranges:
        low, high = (np.array(side) for side in facts.ranges[name])
        if len(low) and np.isfinite([*low, *high]).all():
            bottom, top = float(np.median(low)), float(np.percentile(high, 90)) * _HEADROOM
            if top > bottom:
                found[name] = (bottom, top)
    return found


def _shown(facts: Facts, parts: Sequence[str]) -> tuple[str, ...]:
    """The first three channels of the run, or those of its first part where there are no figures of any."""
    if not facts.channels and parts:
        try:
            return _names(_identity(part_metadata(facts.folder / parts[0])))[:APART]
        except (PhenostreamError, OSError):
            return ()
    return tuple(facts.channels[:APART])


def _from_thumbnail(told: Mapping[str, bytes], identity: Mapping[str, Any], channels: Sequence[str]) -> Picture | None:
    thumbnail = told.get("phenostream.thumbnail")
    if not thumbnail:
        return None
    with Image.open(io.BytesIO(thumbnail), formats=["WEBP", "PNG"]) as opened:
        image = opened.convert("RGB")
    names, scale = _names(identity), _scale(identity, image.width)
    if len(names) > APART or (len(names) > 1 and not set(names) <= set(channels)):
        return Picture(image, scale, apart=False, identity=identity)
    planes = _unmixed(image, len(names)) if len(names) > 1 else [np.asarray(image.convert("L"))]
    named = dict(zip(names or channels[:1] or ("",), planes, strict=False))
    return Picture(_arranged(named, channels or tuple(named)), scale, apart=True, identity=identity)


def _unmixed(image: Image.Image, channels: int) -> list[NDArray[np.uint8]]:
    """The channels of a composite again: exact where their sum was not clipped, near it elsewhere."""
    colours = np.array([images.COLOURS[name] for name in images.default_colours(channels)], float) / 255
    planes = np.asarray(image, float) @ np.linalg.pinv(colours)
    return [np.clip(np.rint(planes[..., place]), 0, 255).astype(np.uint8) for place in range(channels)]


def _arranged(planes: Mapping[str, NDArray[np.uint8]], channels: Sequence[str]) -> Image.Image:
    """Each channel of the run in its own place, black where the field lacks it."""
    blank = np.zeros_like(next(iter(planes.values())))
    if len(channels) == 1:
        return Image.fromarray(planes.get(channels[0], blank))
    return Image.fromarray(np.dstack([*(planes.get(name, blank) for name in channels), blank, blank][:APART]))


def _identity(told: Mapping[str, bytes]) -> dict[str, Any]:
    """What the part says of its field, empty where it says nothing."""
    try:
        found = json.loads(told.get("phenostream.field", b"{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _pixels(told: Mapping[str, bytes]) -> int:
    shape = _identity(told).get("shape")
    return int(np.prod([int(side) for side in shape])) if isinstance(shape, list) and shape else 0


def _scale(identity: Mapping[str, Any], width: int) -> float:
    """Picture pixels a pixel of the field; 0 where the part does not say how large the field was."""
    try:
        return width / float(identity["shape"][-1])
    except (KeyError, ValueError, TypeError, IndexError, ZeroDivisionError):
        return 0.0


def _names(identity: Mapping[str, Any]) -> tuple[str, ...]:
    known = identity.get("channels")
    return tuple(str(one.get("name", "")) for one in known if isinstance(one, dict)) if isinstance(known, list) else ()
