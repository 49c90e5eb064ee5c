"""Layouts: from the names of files to fields."""

from __future__ import annotations

import logging
import string
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic import Field as Setting

from phenostream.errors import NotFoundError, RecipeError
from phenostream.sources import tables
from phenostream.sources.names import natural
from phenostream.sources.patterns import compiled
from phenostream.sources.presets import PRESETS, Preset
from phenostream.sources.repeats import Repeat, of_site, one_each
from phenostream.sources.wells import normal, order, well_name
from phenostream.values import Channel, Container, Field, FieldId, Plane

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Self

    from phenostream.values import Store

_PLANES = {".tif": "tiff", ".tiff": "tiff", ".png": "png"}
_CONTAINERS = {".ch5": "cellh5", ".cellh5": "cellh5", ".h5": "cellh5", ".zarr": "ome_zarr"}
_IDENTITY = {"study", "plate", "well", "row", "column", "site", "time", "z", "channel"}
_log = logging.getLogger("phenostream.sources")
TWICE = "name the part in which they differ (plate, site, time, z) in the pattern"
"""What to do where two files are one channel of one field."""


class Layout(BaseModel):
    """How files are named, and what that says of them.

    A pattern or a preset is needed for single images; without either, all containers (CellH5 files, OME-Zarr folders)
    are taken, and say themselves what they hold.

    Attributes:
        pattern: ``{plate}/{well}_s{site}_w{channel}.tif``, or a regular expression with named groups. The parts plate,
            well (or row and column), site, time, z and channel make the identity; others become annotation.
        preset: a known naming scheme instead of a pattern.
        channels: the file's word for each channel and its name, in the order wanted; files of other channels are left
            out and counted. Empty: the preset's, or the words as they are.
        study: name of the study.
        plate: name of the plate, which may be made of parts (``{experiment}_{plate}``).
        time_from: number of the first time point in file names (fields count from 0).
        z_from: number of the first z plane in file names.
        pixel_size: micrometres a pixel, where the files do not say.
        metadata: a CSV or TSV, joined on plate, well (or row and column) and site as far as it has them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pattern: str = ""
    preset: str = Setting("", json_schema_extra={"enum": ["", *PRESETS]})
    channels: dict[str, str] = Setting(default_factory=dict)
    study: str = ""
    plate: str = ""
    time_from: int | None = Setting(None, ge=0)
    z_from: int | None = Setting(None, ge=0)
    pixel_size: float | None = Setting(None, gt=0)
    metadata: Path | None = None

    @model_validator(mode="after")
    def _either_pattern_or_preset(self) -> Self:
        if self.pattern and self.preset:
            raise ValueError("give a pattern or a preset, not both")
        if self.preset and self.preset not in PRESETS:
            raise ValueError(f"there is no preset {self.preset!r}; there are {', '.join(PRESETS)}")
        return self

    @model_validator(mode="after")
    def _pattern_can_be_read(self) -> Self:
        if self.pattern:
            compiled(self.pattern)
        return self

    def scheme(self) -> Preset:
        """The naming scheme in force, with what these settings override."""
        known = PRESETS.get(self.preset, Preset("", self.pattern, time_from=0, z_from=0))
        return Preset(
            known.example,
            known.pattern,
            self.channels or known.channels,
            known.stains,
            self.plate or known.plate,
            known.time_from if self.time_from is None else self.time_from,
            known.z_from if self.z_from is None else self.z_from,
        )


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found.

    Attributes:
        units: fields, or containers, in natural order.
        unmatched: keys that the pattern does not explain, or that no format is known for.
        left_out: keys of channels that the settings leave out.
        unannotated: how many fields the metadata table says nothing of.
        duplicates: files that would be a channel of a field that has one already.
    """

    units: tuple[Field | Container, ...]
    unmatched: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    unannotated: int = 0
    duplicates: tuple[Repeat, ...] = ()


@dataclass(frozen=True, slots=True)
class _Sighting:
    """One file that a pattern explains."""

    key: str
    parts: Mapping[str, str]


def survey(layout: Layout, store: Store, keys: Iterable[str]) -> Survey:
    """What `keys` are under `layout`; `store` is asked only for the metadata table, where no such local file exists.

    Raises RecipeError: nothing matches (with the pattern and three names). NotFoundError: no files at all.
    """
    names = sorted(_contained(keys), key=natural)
    if not names:
        raise NotFoundError("there are no files", remedy="check the folder or prefix")
    scheme = layout.scheme()
    if not scheme.pattern:
        return _containers(layout, names)
    seen = [_sighting(name, scheme) for name in names]
    explained = [one for one in seen if one is not None]
    if not explained:
        raise RecipeError(
            f"no file matches the pattern {scheme.pattern!r}; there are {', '.join(names[:3])}",
            remedy="correct the pattern, or use a preset",
        )
    wanted = [one for one in explained if _is_wanted(one, scheme)]
    fields, repeats = _fields(layout, scheme, [one for one in wanted if _is_plane(one)])
    table = _table(layout, store, {name for one in wanted for name in one.parts} | {"plate"})
    annotated, silent = _annotated(fields, table)
    containers = [_container(layout, scheme, one) for one in wanted if not _is_plane(one)]
    found = Survey(
        (*annotated, *containers),
        tuple(name for name, one in zip(names, seen, strict=True) if one is None),
        tuple(one.key for one in explained if not _is_wanted(one, scheme)),
        silent,
        tuple(repeats),
    )
    _report(found)
    return found


def _contained(keys: Iterable[str]) -> set[str]:
    """Keys, with all that lies in one OME-Zarr folder as one name."""
    return {key[: place + 5] if (place := f"{key}/".find(".zarr/")) >= 0 else key for key in keys}


def _containers(layout: Layout, names: Sequence[str]) -> Survey:
    found = [name for name in names if _suffix(name) in _CONTAINERS]
    if not found:
        raise RecipeError(
            f"there is no CellH5 file and no OME-Zarr folder among {', '.join(names[:3])}",
            remedy="single images need a pattern or a preset",
        )
    units = tuple(Container(name, _CONTAINERS[_suffix(name)], layout.study, layout.plate) for name in found)
    result = Survey(units, tuple(name for name in names if _suffix(name) not in _CONTAINERS))
    _report(result)
    return result


def _sighting(key: str, scheme: Preset) -> _Sighting | None:
    found = compiled(scheme.pattern).fullmatch(key)
    if found is None or _suffix(key) not in _PLANES.keys() | _CONTAINERS.keys():
        return None
    parts = {name: value for name, value in found.groupdict().items() if value is not None}
    try:
        if "row" in parts and "column" in parts:
            parts["well"] = well_name(parts["row"], parts["column"])
        elif "well" in parts:
            parts["well"] = normal(parts["well"])
    except RecipeError:
        return None
    return _Sighting(key, parts)


def _suffix(key: str) -> str:
    return Path(key).suffix.lower()


def _is_plane(one: _Sighting) -> bool:
    return _suffix(one.key) in _PLANES


def _is_wanted(one: _Sighting, scheme: Preset) -> bool:
    return not scheme.channels or "channel" not in one.parts or one.parts["channel"] in scheme.channels


def _fields(
    layout: Layout, scheme: Preset, seen: Sequence[_Sighting]
) -> tuple[list[tuple[Field, Mapping[str, str]]], list[Repeat]]:
    """Fields with the parts of their first file's name, in plate order; and the files that repeat others."""
    groups: defaultdict[FieldId, defaultdict[str, list[_Sighting]]] = defaultdict(lambda: defaultdict(list))
    for one in seen:
        groups[_identity(layout, scheme, one)][one.parts.get("channel", "")].append(one)
    words, found, repeats = _words(scheme, seen), [], []
    for id_ in sorted(groups, key=_order):
        files, copies = one_each(groups[id_], _key)
        found.append((_field(layout, scheme, id_, files, words), _first(files)))
        repeats += of_site(id_, files, copies, _key)
    return found, repeats


def _key(one: _Sighting) -> str:
    return one.key


def _identity(layout: Layout, scheme: Preset, one: _Sighting) -> FieldId:
    parts = one.parts
    return FieldId(
        study=_filled(layout.study, parts) or parts.get("study", ""),
        plate=_filled(scheme.plate, parts),
        well=parts.get("well", ""),
        site=_unpadded(parts.get("site", "1")),
        time=_counted(one, "time", scheme.time_from),
        z=_counted(one, "z", scheme.z_from),
    )


def _filled(template: str, parts: Mapping[str, str]) -> str:
    """`template` with parts filled in. A plate that neither name nor settings tell is nameless."""
    wanted = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
    if wanted == {"plate"} and "plate" not in parts:
        return ""
    if absent := wanted - parts.keys():
        raise RecipeError(f"{template!r} needs {', '.join(sorted(absent))}", remedy="name that part in the pattern")
    return template.format(**parts)


def _counted(one: _Sighting, part: str, first: int) -> int:
    number = int(one.parts.get(part, first)) - first
    if number < 0:
        raise RecipeError(
            f"{one.key}: {part} counts from {first}", remedy=f"set {part}_from to the first number in use"
        )
    return number


def _unpadded(text: str) -> str:
    return str(int(text)) if text.isdecimal() else text


def _words(scheme: Preset, seen: Iterable[_Sighting]) -> list[str]:
    return list(scheme.channels) or sorted({one.parts.get("channel", "") for one in seen}, key=natural)


def _field(layout: Layout, scheme: Preset, id_: FieldId, files: Mapping[str, _Sighting], words: Sequence[str]) -> Field:
    # A file without a channel part is the only channel; its name may be given under any word.
    present = [word for word in words if word in files] or [""]
    names = [scheme.channels.get(word) or word or next(iter(scheme.channels.values()), "DNA") for word in present]
    keys = [files[word].key for word in present]
    return Field(
        id_,
        tuple(Channel(name, scheme.stains.get(name, "")) for name in names),
        tuple(Plane(key, _PLANES[_suffix(key)]) for key in keys),
        layout.pixel_size,
        MappingProxyType(_others(_first(files))),
    )


def _first(files: Mapping[str, _Sighting]) -> Mapping[str, str]:
    return next(iter(files.values())).parts


def _others(parts: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in parts.items() if name not in _IDENTITY}


def _order(id_: FieldId) -> tuple[Any, ...]:
    return natural(id_.study), natural(id_.plate), order(id_.well), natural(id_.site), id_.time, id_.z


def _container(layout: Layout, scheme: Preset, one: _Sighting) -> Container:
    plate = _filled(scheme.plate, one.parts)
    study = _filled(layout.study, one.parts) or one.parts.get("study", "")
    return Container(one.key, _CONTAINERS[_suffix(one.key)], study, plate, one.parts.get("well", ""))


def _table(layout: Layout, store: Store, parts: set[str]) -> tables.Annotations | None:
    if layout.metadata is None:
        return None
    data = tables.read(layout.metadata.as_posix(), store, setting="metadata")
    return tables.parse(data, layout.metadata.name, parts)


def _annotated(
    fields: Iterable[tuple[Field, Mapping[str, str]]], table: tables.Annotations | None
) -> tuple[list[Field], int]:
    if table is None:
        return [field for field, _ in fields], 0
    done, silent = [], 0
    for field, parts in fields:
        told = table.of({"plate": field.id.plate} | dict(parts))
        silent += not told
        done.append(replace(field, annotation=MappingProxyType({**field.annotation, **told})))
    return done, silent


def _report(found: Survey) -> None:
    if found.unmatched:
        examples = ", ".join(found.unmatched[:3])
        _log.warning("%d files do not match the pattern and are not used: %s", len(found.unmatched), examples)
    if found.left_out:
        _log.info("%d files are of channels that are not asked for", len(found.left_out))
    if found.duplicates:
        first = found.duplicates[0]
        _log.warning("%d copies of fields are not used: %s is %s again", len(found.duplicates), first.files[0],
                     first.kept[0])  # fmt: skip
    if found.unannotated:
        _log.warning("the metadata table says nothing of %d fields", found.unannotated)
