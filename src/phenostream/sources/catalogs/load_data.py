"""Catalog ``load_data``: CellProfiler's image tables, as the Cell Painting Gallery and JUMP publish them.

A row is a site. The files of a channel stand in ``FileName_OrigDNA`` and ``PathName_OrigDNA``, or in ``URL_OrigDNA``;
``Metadata_Plate``, ``Metadata_Well`` and ``Metadata_Site`` say which site it is. Source: CellProfiler manual, LoadData.
What lies in the wells stands in tables of its own, which are joined: `phenostream.sources.joins`.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict
from pydantic import Field as Setting

from phenostream.errors import RecipeError
from phenostream.sources import tables
from phenostream.sources.joins import Controls, Join, joined
from phenostream.sources.layout import Survey
from phenostream.sources.names import checked, natural
from phenostream.sources.repeats import Repeat, refuse
from phenostream.sources.wells import normal, order, well_name
from phenostream.values import Channel, Field, FieldId, Plane

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from phenostream.values import Store

_log = logging.getLogger("phenostream.sources")
_FORMATS = {".tif": "tiff", ".tiff": "tiff", ".png": "png"}
_STAINS = {"DNA": "Hoechst", "ER": "Concanavalin A", "RNA": "SYTO 14", "AGP": "Phalloidin, WGA", "Mito": "MitoTracker"}
_PLACES = ("plate", "well", "site", "row", "col", "column")


class Settings(BaseModel):
    """Where the table and the images are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    catalog: Literal["load_data"] = "load_data"
    base: str = Setting(description="Folder or URL that the images lie below.", min_length=1)
    table: str = Setting(
        description="The table: .csv, .csv.gz or .parquet; a path, a URL, or a name below base.", min_length=1
    )
    strip: str = Setting("", description="Beginning of the table's paths that base stands for; empty: base itself.")
    prefix: str = Setting("Orig", description="What stands before the channel's name in the columns of images.")
    channels: tuple[str, ...] = Setting((), description="Channels wanted, in order; empty: all, as in the table.")
    study: str = Setting("", description="Name of the study.")
    metadata: tuple[Join, ...] = Setting((), description="Tables that say more of the sites, joined in this order.")
    controls: Controls | None = Setting(None, description="Which wells are controls; makes the annotation well_type.")


def base(settings: Settings) -> str:
    """See `phenostream.sources.catalogs`."""
    return settings.base


def closed(settings: Settings) -> bool:
    """See `phenostream.sources.catalogs`: local tables say all."""
    return all(Path(table).is_file() for table in (settings.table, *(join.table for join in settings.metadata)))


def units(settings: Settings, store: Store) -> Iterator[Field]:
    """See `phenostream.sources.catalogs`. Raises as `survey` does, and RecipeError: one site twice."""
    found = survey(settings, store)
    refuse(found.duplicates, remedy="the table has the site twice: give the table of one batch")
    return (unit for unit in found.units if isinstance(unit, Field))


def survey(settings: Settings, store: Store) -> Survey:
    """The sites of the table, by plate, well and site; of a site that comes again the first row is read.

    Raises:
        NotFoundError: no such table.
        DamagedError: not a table.
        RecipeError: no image columns, a channel that has none, paths that do not lie below base, tables that do not
            join.
    """
    rows = tables.rows(tables.read(settings.table, store, setting="table"), settings.table)
    channels = _channels(settings, rows[0])
    found: dict[FieldId, tuple[Field, dict[str, str]]] = {}
    repeats = []
    for row in rows:
        field, told = _field(settings, channels, row)
        if field.id in found:
            repeats.append(Repeat(field.id, _files(found[field.id][0]), _files(field)))
        else:
            found[field.id] = field, told
    places = sorted(found, key=_order)
    known, silent = joined([found[one][1] for one in places], settings.metadata, settings.controls, store)
    units = tuple(_annotated(found[one][0], told) for one, told in zip(places, known, strict=True))
    _report(silent, repeats)
    return Survey(units, unannotated=silent, duplicates=tuple(repeats))


def _field(settings: Settings, channels: Sequence[str], row: Mapping[str, str]) -> tuple[Field, dict[str, str]]:
    """The site of a row, and what its columns say of it, its identity in the words of fields."""
    told = {tables.name_of(name): value for name, value in row.items() if name.startswith("Metadata_") and value}
    keys = [(name, key) for name in channels if (key := _key(settings, name, row))]
    one = _identity(settings, told)
    planes = tuple(Plane(key, _format(key)) for _, key in keys)
    field = Field(one, tuple(Channel(name, _STAINS.get(name, "")) for name, _ in keys), planes)
    return field, told | {"plate": one.plate, "well": one.well, "site": one.site}


def _annotated(field: Field, told: Mapping[str, str]) -> Field:
    return replace(field, annotation=MappingProxyType({name: told[name] for name in told if name not in _PLACES}))


def _files(field: Field) -> tuple[str, ...]:
    return tuple(plane.key for plane in field.planes) or (str(field.id),)


def _identity(settings: Settings, told: Mapping[str, str]) -> FieldId:
    column = told.get("col") or told.get("column", "")
    well = (
        normal(told["well"]) if "well" in told else well_name(told["row"], column) if "row" in told and column else ""
    )
    site = told.get("site", "1")
    return FieldId(settings.study, told.get("plate", ""), well, str(int(site)) if site.isdecimal() else site)


def _key(settings: Settings, channel: str, row: Mapping[str, str]) -> str:
    """Key of a channel's file below base; empty where the row has none. Raises RecipeError where it lies elsewhere."""
    name = f"{settings.prefix}{channel}"
    where = row.get(f"URL_{name}", "")
    if not where and (file := row.get(f"FileName_{name}", "")):
        folder = row.get(f"PathName_{name}", "").rstrip("/")
        where = f"{folder}/{file}" if folder else file
    if not where:
        return ""
    for root in (settings.strip.rstrip("/"), settings.base.rstrip("/")):
        if root and where.startswith(f"{root}/"):
            return checked(_unquoted(where[len(root) :].lstrip("/"), where))
    if "://" in where or where.startswith("/"):
        raise RecipeError(
            f"{where} does not lie below {settings.base}",
            remedy="set strip to the part of the path that base stands for",
        )
    return checked(where)


def _unquoted(key: str, where: str) -> str:
    return unquote(key) if urlsplit(where).scheme in ("http", "https", "file") else key


def _format(key: str) -> str:
    suffix = Path(key).suffix.lower()
    if suffix not in _FORMATS:
        raise RecipeError(f"no format is known for {key}", remedy=f"images end in {', '.join(_FORMATS)}")
    return _FORMATS[suffix]


def _channels(settings: Settings, row: Mapping[str, str]) -> Sequence[str]:
    heads = (f"FileName_{settings.prefix}", f"URL_{settings.prefix}")
    there = list(dict.fromkeys(name[len(head) :] for head in heads for name in row if name.startswith(head)))
    if not there:
        raise RecipeError(f"the table has no column {heads[0]}...", remedy="set prefix to what its image columns have")
    if lost := [name for name in settings.channels if name not in there]:
        raise RecipeError(f"the table has no channel {lost[0]!r}", remedy=f"it has {', '.join(there)}")
    return settings.channels or there


def _report(silent: int, repeats: Sequence[Repeat]) -> None:
    if silent:
        _log.warning("the metadata tables say nothing of %d sites", silent)
    if repeats:
        _log.warning("the table has %d sites again: the first is %s", len(repeats), repeats[0].id)


def _order(one: FieldId) -> tuple[object, ...]:
    return natural(one.plate), order(one.well), natural(one.site)
