"""Catalog ``rxrx``: Recursion's screens (RxRx1, RxRx2, RxRx19, RxRx3), their images joined with their metadata.

Images lie as ``{experiment}/Plate{plate}/{well}_s{site}_w{channel}.png``, with or without ``train/`` and ``test/``
above, as in the archive, the competition and the cloud copies; RxRx3 leaves out the ``w``. WILDS has one colour picture
a site, ``{well}_s{site}.png``, whose red, green and blue are the first three channels.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic import Field as Setting

from phenostream.errors import NotFoundError
from phenostream.sources.catalogs import _rxrx_tables
from phenostream.sources.catalogs._rxrx_tables import Place, identity, order_of, place_of, report
from phenostream.sources.presets import PRESETS
from phenostream.sources.repeats import Repeat, of_site, one_each, refuse
from phenostream.values import Channel, Field, FieldId, Plane

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from phenostream.sources.catalogs._rxrx_tables import Metadata
    from phenostream.values import Store

_log = logging.getLogger("phenostream.sources")
_SITE = (
    r"(?:.*?/)??(?:(?P<dataset>train|test)/)?(?P<experiment>[^/]+)/Plate(?P<plate>\d+)/"
    r"(?P<well>[A-Z]{1,2}\d{1,2})_s(?P<site>\d+)"
)
_IMAGE = re.compile(_SITE + r"_w?(?P<channel>\d+)\.(?P<suffix>png|tiff?)")
_PICTURE = re.compile(_SITE + r"\.(?P<suffix>png)")
_SIX = PRESETS["rxrx1"]
_FIVE = {**{word: name for word, name in _SIX.channels.items() if word < "5"}, "5": "Golgi"}
_COLOURS = ("1", "2", "3")
_STAINS = {"six": _SIX.channels, "five": _FIVE, "rgb": {word: _SIX.channels[word] for word in _COLOURS}}
_FORMATS = {"png": "png", "tif": "tiff", "tiff": "tiff"}


class Settings(BaseModel):
    """Where the images and the tables are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    catalog: Literal["rxrx"] = "rxrx"
    base: str = Setting(description="Folder or URL that the images lie below.", min_length=1)
    metadata: str = Setting(
        description="metadata.csv, or a folder with it or with train.csv, test.csv and the tables of controls: a path, "
        "a URL, or a name below base.",
        min_length=1,
    )
    stains: Literal["six", "five", "rgb"] = Setting(
        "six",
        description="six as in RxRx1; five without Mito as in RxRx19a; rgb: one colour picture a site, of channels 1 to"
        " 3, as in WILDS.",
    )
    channels: dict[str, str] = Setting(
        default_factory=dict, description="Number of each wanted channel and its name, in order; empty: the stains'."
    )
    study: str = Setting("", description="Name of the study.")
    sites: tuple[int, ...] = Setting(
        (),
        description="Sites of a well, where the tables tell of wells only; empty: 1 and 2, in RxRx3 and RxRx3-core 1.",
    )
    naming: Literal["auto", "w", "number"] = Setting(
        "auto",
        description="A channel in the name of a file that is not listed: w1 as in RxRx1, or 1 as in RxRx3; auto: as the"
        " tables' own dialect has it.",
    )
    listing: bool = Setting(
        True, description="Compare the tables with the files that are there; without, the tables are believed."
    )

    @model_validator(mode="after")
    def colours_are_three(self) -> Self:
        """A picture has red, green and blue: channels 1, 2 and 3."""
        if self.stains == "rgb" and (lost := sorted({*self.channels} - {*_COLOURS})):
            raise ValueError(f"a colour picture has channels 1, 2 and 3, and none of number {lost[0]}")
        return self


@dataclass(frozen=True, slots=True)
class Survey:
    """What the tables and the files say together.

    Attributes:
        units: sites that have images, in natural order.
        absent: sites that the tables tell of and that have none.
        unmatched: files that are no images of such a screen.
        left_out: images of channels that are not asked for.
        unannotated: how many sites the tables do not tell of.
        duplicates: files that would be a channel of a site that has one already.
        imageless: the absent sites with what the tables tell of them, as fields without channels.
    """

    units: tuple[Field, ...]
    absent: tuple[FieldId, ...] = ()
    unmatched: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    unannotated: int = 0
    duplicates: tuple[Repeat, ...] = ()
    imageless: tuple[Field, ...] = ()


def base(settings: Settings) -> str:
    """See `phenostream.sources.catalogs`."""
    return settings.base


def units(settings: Settings, store: Store) -> Iterator[Field]:
    """See `phenostream.sources.catalogs`. Raises as `survey` does, and RecipeError: two files for one channel."""
    found = survey(settings, store)
    refuse(found.duplicates, remedy="take one copy of the images, by a base further down")
    return iter(found.units)


def survey(settings: Settings, store: Store) -> Survey:
    """The sites of a screen with all that its tables say of them.

    Raises:
        NotFoundError: no table, or no image.
        DamagedError, RecipeError: tables that cannot be read.
    """
    told = _rxrx_tables.read(settings.metadata, store)
    return _listed(settings, told, store.keys()) if settings.listing else _believed(settings, told)


def _listed(settings: Settings, told: Metadata, keys: Iterable[str]) -> Survey:
    wanted, pattern = _channels(settings), _PICTURE if settings.stains == "rgb" else _IMAGE
    sites: dict[Place, dict[str, list[re.Match[str]]]] = {}
    unmatched, left_out = [], []
    for key in keys:
        seen = pattern.fullmatch(key)
        if seen is None:
            unmatched.append(key)
        elif words := _words(seen, wanted):
            files = sites.setdefault(place_of(seen), {})
            for word in words:
                files.setdefault(word, []).append(seen)
        else:
            left_out.append(key)
    if not sites:
        raise _nothing(settings, unmatched)
    found, repeats = [], list[Repeat]()
    for place in sorted(sites, key=order_of):
        kept, copies = one_each(sites[place], _name)
        found.append(_field(settings, wanted, place, kept, told.of(place)))
        repeats += of_site(found[-1].id, kept, copies, _name)
    missing = sorted(_expected(settings, told) - sites.keys(), key=order_of)
    silent = sum(not told.of(place) for place in sites)
    report(missing, silent, repeats)
    imageless = tuple(_field(settings, wanted, place, {}, told.of(place)) for place in missing)
    absent = tuple(one.id for one in imageless)
    return Survey(tuple(found), absent, tuple(unmatched), tuple(left_out), silent, tuple(repeats), imageless)


def _name(seen: re.Match[str]) -> str:
    return seen.string


def _believed(settings: Settings, told: Metadata) -> Survey:
    """Sites as the tables tell them, each file under the name that it must have."""
    wanted, found, picture = _channels(settings), [], settings.stains == "rgb"
    w = "" if settings.naming == "number" or (settings.naming == "auto" and told.of_rxrx3) else "w"
    for place in sorted(_expected(settings, told), key=order_of):
        row = told.of(place)
        experiment, plate, well, site = place
        # The dataset is a folder in the competition's layout, whose tables alone lack the rows of sites.
        above = f"{row['dataset']}/" if not told.by_site and "dataset" in row else ""
        stem = f"{above}{experiment}/Plate{plate}/{_padded(well)}_s{site}"
        names = {
            word: _PICTURE.fullmatch(f"{stem}.png") if picture else _IMAGE.fullmatch(f"{stem}_{w}{word}.png")
            for word in wanted
        }
        found.append(_field(settings, wanted, place, {word: one for word, one in names.items() if one}, row))
    return Survey(tuple(found))


def _channels(settings: Settings) -> Mapping[str, str]:
    return settings.channels or _STAINS[settings.stains]


def _words(seen: re.Match[str], wanted: Mapping[str, str]) -> tuple[str, ...]:
    """Numbers of the wanted channels that a file holds: its own, or all those of a colour picture."""
    own = {seen["channel"].lstrip("0")} if seen.re is _IMAGE else {*_COLOURS}
    return tuple(word for word in wanted if word in own)


def _nothing(settings: Settings, keys: Iterable[str]) -> NotFoundError:
    colours = settings.stains == "rgb"
    other = next(filter((_IMAGE if colours else _PICTURE).fullmatch, keys), "")
    stains, what = ("six", "a file a channel") if colours else ("rgb", "a colour picture a site")
    return NotFoundError(
        f"there are no images of an RxRx screen below {settings.base}",
        remedy=f"{other} looks like {what}: set stains to {stains}" if other
        else f"they lie as HEPG2-01/Plate1/B02_s1{'' if colours else '_w1'}.png",
    )  # fmt: skip


def _padded(well: str) -> str:
    row = well.rstrip("0123456789")
    return f"{row}{int(well[len(row) :]):02d}"


def _expected(settings: Settings, told: Metadata) -> set[Place]:
    if told.by_site:
        return set(told.rows)
    sites = settings.sites or ((1,) if told.of_rxrx3 else (1, 2))
    return {(*place[:3], str(site)) for place in told.rows for site in sites}


def _field(
    settings: Settings,
    wanted: Mapping[str, str],
    place: Place,
    files: Mapping[str, re.Match[str]],
    row: Mapping[str, str],
) -> Field:
    words = [word for word in wanted if word in files]
    folders = {one["dataset"] for one in files.values() if one["dataset"]}
    well_id = f"{place[0]}_{place[1]}_{_padded(place[2])}"
    known = {
        "site_id": f"{well_id}_{place[3]}",
        "well_id": well_id,
        "experiment": place[0],
        "plate_number": str(place[1]),
    }
    known |= {"dataset": min(folders)} if folders else {}
    return Field(
        identity(settings.study, place),
        tuple(Channel(wanted[word], _SIX.stains.get(wanted[word], "")) for word in words),
        tuple(_plane(files[word], word) for word in words),
        annotation=MappingProxyType({**known, **row}),
    )


def _plane(seen: re.Match[str], word: str) -> Plane:
    if seen.re is _PICTURE:
        return Plane(seen.string, "png_rgb", c=_COLOURS.index(word))
    return Plane(seen.string, _FORMATS[seen["suffix"]])
