"""Screens: what there is to pack, as fields that can be read, wherever it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from phenostream import formats
from phenostream.errors import ChannelMissingError, NotFoundError
from phenostream.sources import catalogs, open_store
from phenostream.sources.wells import normal
from phenostream.values import Field

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from phenostream.sources import LocalStore, RemoteStore, TransportOptions
    from phenostream.sources.repeats import Repeat
    from phenostream.values import FieldId, Store


@dataclass(frozen=True, slots=True)
class Screen:
    """Sites and what was found beside them.

    Attributes:
        fields: sites, each ready to be read and to travel to another process.
        absent: sites of which a table tells and no image is there.
        unmatched: files that nothing explains.
        left_out: files of channels that are not asked for.
        unannotated: how many sites no table tells of.
        duplicates: copies of sites, or of channels of them, that are not read: an audit and a pack name them.
        imageless: the absent sites with what the table tells of them, as fields without channels.
    """

    fields: tuple[Field, ...]
    absent: tuple[FieldId, ...] = ()
    unmatched: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    unannotated: int = 0
    duplicates: tuple[Repeat, ...] = ()
    imageless: tuple[Field, ...] = ()

    def __len__(self) -> int:
        return len(self.fields)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of all channels that sites have, in the order in which they come."""
        return tuple(dict.fromkeys(channel.name for field in self.fields for channel in field.channels))

    def find(self, plate: str, well: str, site: str | int = "1", *, time: int = 0, z: int = 0) -> Field:
        """The field of one site. Raises NotFoundError."""
        for field in self.fields:
            one = field.id
            if (one.plate, one.well, one.site, one.time, one.z) == (plate, normal(well), str(site), time, z):
                return field
        raise NotFoundError(f"no site {site} of well {well} of plate {plate}", remedy="list the fields of the screen")


def open_screen(source: BaseModel | Mapping[str, Any], *, options: TransportOptions | None = None) -> Screen:
    """All sites of a source, in natural order.

    Args:
        source: settings of a catalog, or what they would be in a recipe:
            ``{"catalog": "folder", "base": "plate7", "preset": "rxrx1"}``.
        options: how transports behave.

    Raises:
        RecipeError: no such catalog, a key that it does not have, names that do not fit its pattern.
        NotFoundError: nothing there.
    """
    settings = source if isinstance(source, BaseModel) else catalogs.parse(source)
    store = open_store(catalogs.base(settings), options=options)
    survey = getattr(catalogs.load(str(getattr(settings, "catalog", ""))), "survey", None)
    if survey is None:
        return Screen(tuple(_fields(catalogs.units(settings, store), store)))
    found = survey(settings, store)
    return Screen(
        tuple(_fields(found.units, store)), tuple(getattr(found, "absent", ())), found.unmatched, found.left_out,
        found.unannotated, tuple(getattr(found, "duplicates", ())), tuple(getattr(found, "imageless", ())),
    )  # fmt: skip


def load_site(
    screen: Screen, plate: str, well: str, site: str | int = "1", *, channels: Sequence[str] = ()
) -> NDArray[Any]:
    """The pixels (C, Y, X) of one site of a screen, in the type of its files; all channels where none are named.

    Raises NotFoundError for a site and ChannelMissingError for a channel that is not there, and what reading raises.
    """
    field = screen.find(plate, well, site)
    return chosen(field, channels).read()


def chosen(field: Field, channels: Sequence[str]) -> Field:
    """`field` with these channels alone, in this order; as it is where none are named. Raises ChannelMissingError."""
    if not channels or tuple(channel.name for channel in field.channels) == tuple(channels):
        return field
    at = [field.index(name) for name in channels]
    picked = tuple(field.channels[one] for one in at)
    if len(field.planes) == len(field.channels) and (store := _store(field)) is not None:
        planes = tuple(field.planes[one] for one in at)
        return formats.attach(_replaced(field, picked, planes), store)
    if field.pixels is None:
        raise ChannelMissingError(f"field {field.id} has no pixels", remedy="attach it to its store first")
    return _replaced(field, picked, ()).with_pixels(_Picked(field, tuple(at)))


@dataclass(frozen=True, slots=True)
class _Picked:
    """Some channels of another field's pixels; a class, so that it can be pickled where that field can."""

    field: Field
    at: tuple[int, ...]

    def __call__(self) -> NDArray[Any]:
        return self.field.read()[list(self.at)]


def _replaced(field: Field, channels: tuple[Any, ...], planes: tuple[Any, ...]) -> Field:
    return Field(field.id, channels, planes, field.pixel_size, field.annotation)


def _store(field: Field) -> Store | None:
    arguments: tuple[Any, ...] = getattr(field.pixels, "args", ())
    return arguments[0] if len(arguments) == 2 else None


def _fields(units: Any, store: LocalStore | RemoteStore) -> Iterator[Field]:
    for unit in units:
        if isinstance(unit, Field):
            yield unit if unit.pixels is not None else formats.attach(unit, store)
        else:
            yield from formats.fields(store, unit)
