"""Catalog ``rxrx3_core``: RxRx3-core as it is distributed, a JPEG 2000 a channel, in the rows of Parquet files.

A row has a key, ``{experiment}/Plate{plate}/{well}_s{site}_{channel}``, and the bytes of an image. Source: the data
card of RxRx3-core, https://huggingface.co/datasets/recursionpharma/rxrx3-core.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any, Literal, cast

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict
from pydantic import Field as Setting

from phenostream.errors import DamagedError, NotFoundError, PhenostreamError
from phenostream.sources.catalogs import _rxrx_tables
from phenostream.sources.catalogs._rxrx_tables import identity, order_of, place_of, report
from phenostream.sources.catalogs.rxrx import Survey
from phenostream.sources.names import natural
from phenostream.sources.presets import PRESETS
from phenostream.sources.repeats import Repeat, of_site, one_each, refuse
from phenostream.values import Channel, Field, Plane
from phenostream.values.seeking import Opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from phenostream.sources.catalogs._rxrx_tables import Metadata, Place
    from phenostream.values import Store

_KEY = re.compile(
    r"(?:.*/)?(?P<experiment>[^/]+)/Plate(?P<plate>\d+)/"
    r"(?P<well>[A-Z]{1,2}\d{1,2})_s(?P<site>\d+)_w?(?P<channel>\d+)(?:\.\w+)?"
)
_SIX = PRESETS["rxrx1"]
_NOTHING = _rxrx_tables.Metadata(MappingProxyType({}), by_site=False)


class Settings(BaseModel):
    """Where the files and the table are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    catalog: Literal["rxrx3_core"] = "rxrx3_core"
    base: str = Setting(description="Folder or URL that the Parquet files lie below.", min_length=1)
    files: tuple[str, ...] = Setting(
        (), description="Names below base, where it cannot be listed; empty: all that end in .parquet."
    )
    metadata: str = Setting(
        "",
        description="The table of wells (metadata_rxrx3_core.csv): a path, a URL, or a name below base; empty: what the"
        " keys tell is all that is known.",
    )
    channels: dict[str, str] = Setting(
        default_factory=dict, description="Number of each wanted channel and its name, in order; empty: all six."
    )
    study: str = Setting("", description="Name of the study.")


def base(settings: Settings) -> str:
    """See `phenostream.sources.catalogs`."""
    return settings.base


def units(settings: Settings, store: Store) -> Iterator[Field]:
    """See `phenostream.sources.catalogs`. Raises as `survey` does, and RecipeError: two rows for one channel."""
    found = survey(settings, store)
    refuse(found.duplicates, remedy="name the files that are wanted, files: [...]")
    return iter(found.units)


def survey(settings: Settings, store: Store) -> Survey:
    """The sites whose images are in the files, with all that the table says of them.

    The keys of all rows are read now, which are a small part of the files; images when a field is.

    Raises:
        NotFoundError: no file, no table, or no image of such a screen.
        DamagedError: not Parquet, or no column of keys and one of images.
        RecipeError: a table without experiment, plate or well.
    """
    told = _rxrx_tables.read(settings.metadata, store) if settings.metadata else _NOTHING
    wanted = settings.channels or _SIX.channels
    sites: dict[Place, dict[str, list[Plane]]] = {}
    unmatched, left_out = [], []
    names = sorted(settings.files or store.keys(), key=natural)
    for name in names:
        if not name.endswith(".parquet"):
            unmatched.append(name)
            continue
        for key, plane in _rows(store, name):
            seen = _KEY.fullmatch(key)
            if seen is None:
                unmatched.append(f"{_name(plane)} ({key})")
            elif (channel := str(int(seen["channel"]))) in wanted:
                sites.setdefault(place_of(seen), {}).setdefault(channel, []).append(plane)
            else:
                left_out.append(f"{_name(plane)} ({key})")
    if not sites:
        raise NotFoundError(
            f"there is no site of RxRx3-core below {settings.base}",
            remedy="its rows are called gene-001/Plate1/A02_s1_1" if len(unmatched) > len(names) else "give its files",
        )
    return _surveyed(settings, told, wanted, sites, (unmatched, left_out))


def _surveyed(
    settings: Settings,
    told: Metadata,
    wanted: Mapping[str, str],
    sites: Mapping[Place, Mapping[str, list[Plane]]],
    others: tuple[Sequence[str], Sequence[str]],
) -> Survey:
    found, repeats = [], list[Repeat]()
    for place in sorted(sites, key=order_of):
        kept, copies = one_each(sites[place], _name)
        found.append(_field(settings, wanted, place, kept, told.of(place)))
        repeats += of_site(found[-1].id, kept, copies, _name)
    missing = sorted({(*place[:3], place[3] or "1") for place in told.rows} - sites.keys(), key=order_of)
    silent = sum(not told.of(place) for place in sites) if settings.metadata else 0
    report(missing, silent, repeats)
    imageless = tuple(_field(settings, wanted, place, {}, told.of(place)) for place in missing)
    return Survey(
        tuple(found), tuple(one.id for one in imageless), tuple(others[0]), tuple(others[1]), silent,
        duplicates=tuple(repeats), imageless=imageless,
    )  # fmt: skip


def _rows(store: Store, name: str) -> Iterator[tuple[str, Plane]]:
    """The key of every row of a file, and where its image lies."""
    try:
        # Without threads, which may let go of these bytes after the interpreter ended, and that aborts.
        with pq.ParquetFile(cast("IO[bytes]", Opened(store, name))) as file:
            keys, images = _columns(file.schema_arrow, name)
            groups = [
                file.read_row_group(group, [keys], use_threads=False)[keys].to_pylist()
                for group in range(file.num_row_groups)
            ]
    except PhenostreamError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DamagedError(f"{name} is not Parquet, or damaged: {error}", remedy="fetch it again") from error
    for group, found in enumerate(groups):
        for row, key in enumerate(found):
            yield str(key), Plane(name, "parquet_images", f"{images}/{group}/{row}")


def _columns(schema: pa.Schema, name: str) -> tuple[str, str]:
    """The column of keys and that of images: the first of strings, the first of bytes or of structs with bytes."""
    keys = [one.name for one in schema if pa.types.is_string(one.type) or pa.types.is_large_string(one.type)]
    images = [
        one.name
        for one in schema
        if pa.types.is_binary(one.type) or pa.types.is_large_binary(one.type) or pa.types.is_struct(one.type)
    ]
    if not keys or not images:
        raise DamagedError(f"{name} has no column of keys and one of images", remedy="give RxRx3-core's Parquet files")
    return keys[0], images[0]


def _name(plane: Plane) -> str:
    return f"{plane.key}/{plane.inner}"


def _field(
    settings: Settings, wanted: Mapping[str, str], place: Place, rows: Mapping[str, Plane], told: Mapping[str, str]
) -> Field:
    words = [word for word in wanted if word in rows]
    known: dict[str, Any] = {"experiment": place[0], "plate_number": str(place[1])}
    return Field(
        identity(settings.study, place),
        tuple(Channel(wanted[word], _SIX.stains.get(wanted[word], "")) for word in words),
        tuple(rows[word] for word in words),
        annotation=MappingProxyType({**known, **told}),
    )
