"""Catalog ``load_data``: CellProfiler's image tables, as the Cell Painting Gallery and JUMP publish them.

A row is a site. The files of a channel stand in ``FileName_OrigDNA`` and ``PathName_OrigDNA``, or in ``URL_OrigDNA``;
``Metadata_Plate``, ``Metadata_Well`` and ``Metadata_Site`` say which site it is. Source: CellProfiler manual, LoadData.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict
from pydantic import Field as Setting

from phenostream.errors import DamagedError, RecipeError
from phenostream.sources import tables
from phenostream.sources.names import checked, natural
from phenostream.sources.wells import normal, order, well_name
from phenostream.values import Channel, Field, FieldId, Plane

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from phenostream.values import Store

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


def base(settings: Settings) -> str:
    """See `phenostream.sources.catalogs`."""
    return settings.base


def closed(settings: Settings) -> bool:
    """See `phenostream.sources.catalogs`: a local table says all."""
    return Path(settings.table).is_file()


def units(settings: Settings, store: Store) -> Iterator[Field]:
    """See `phenostream.sources.catalogs`; by plate, well and site.

    Raises:
        NotFoundError: no table.
        DamagedError: not a table.
        RecipeError: no image columns, a channel that has none, paths that do not lie below base, one site twice.
    """
    rows = _rows(settings, store)
    channels = _channels(settings, rows[0])
    found: dict[FieldId, Field] = {}
    for row in rows:
        field = _field(settings, channels, row)
        if field.id in found:
            raise RecipeError(f"the table has site {field.id} twice", remedy="give the table of one batch")
        found[field.id] = field
    return iter(found[one] for one in sorted(found, key=_order))


def _field(settings: Settings, channels: Sequence[str], row: Mapping[str, str]) -> Field:
    told = {name[9:].lower(): value for name, value in row.items() if name.startswith("Metadata_") and value}
    keys = [(name, key) for name in channels if (key := _key(settings, name, row))]
    return Field(
        _identity(settings, told),
        tuple(Channel(name, _STAINS.get(name, "")) for name, _ in keys),
        tuple(Plane(key, _format(key)) for _, key in keys),
        annotation=MappingProxyType({name: value for name, value in told.items() if name not in _PLACES}),
    )


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
    for root in (settings.strip, settings.base):
        if root and where.startswith(root):
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


def _rows(settings: Settings, store: Store) -> list[dict[str, str]]:
    data = tables.read(settings.table, store, setting="table")
    if not settings.table.endswith(".parquet"):
        return tables.rows(data, settings.table)
    try:
        rows = _parquet(data)
    except (ValueError, OSError) as error:
        raise DamagedError(f"{settings.table} is not a table: {error}", remedy="fetch it again") from error
    if not rows:
        raise DamagedError(f"{settings.table} has no rows", remedy="fetch it again")
    return rows


def _parquet(data: bytes) -> list[dict[str, str]]:
    import pyarrow as pa  # noqa: PLC0415  (most tables are text)
    import pyarrow.parquet as pq  # noqa: PLC0415

    # Not `pq.read_table`: its threads may let go of these bytes after the interpreter ended, which aborts.
    rows = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False).to_pylist()
    return [{key: "" if value is None else str(value) for key, value in row.items()} for row in rows]


def _order(one: FieldId) -> tuple[object, ...]:
    return natural(one.plate), order(one.well), natural(one.site)
