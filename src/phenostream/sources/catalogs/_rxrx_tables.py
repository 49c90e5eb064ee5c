"""The metadata tables of Recursion's screens, in each of their dialects, under one set of names.

* Competition (2019): ``train.csv``, ``test.csv`` and ``*_controls.csv``, a row a WELL; ``sirna`` is the class number.
* RxRx1 as published, RxRx2, RxRx19: ``metadata.csv``, a row a SITE; ``sirna`` is the reagent, ``sirna_id`` the number.
* RxRx3 and RxRx3-core: a row a WELL; the experiment is ``experiment_name`` and the well ``address``.

Here ``sirna_id`` is always the number, ``sirna`` always the reagent, and ``plate_number`` the plate in its experiment.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phenostream.errors import NotFoundError, RecipeError
from phenostream.sources import tables
from phenostream.sources.names import natural
from phenostream.sources.wells import normal, order
from phenostream.values import FieldId

if TYPE_CHECKING:
    import re
    from collections.abc import Mapping, Sequence

    from phenostream.sources.repeats import Repeat
    from phenostream.values import Store

_log = logging.getLogger("phenostream.sources")
_COMPETITION = ("train.csv", "test.csv", "train_controls.csv", "test_controls.csv")
_ALIASES = {
    "experiment": ("experiment", "experiment_name"),
    "plate": ("plate",),
    "well": ("well", "address"),
    "site": ("site",),
}
_NAMES = {"id_code": "well_id"}

Place = tuple[str, int, str, str]
"""Experiment, plate number, well (``B2``) and site; the site is empty where rows are wells."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What the tables of a screen say.

    Attributes:
        rows: what is said of each place.
        by_site: whether rows are sites; otherwise they are wells.
        of_rxrx3: whether they are in the dialect of RxRx3, whose wells have one site, and whose files no ``w``.
    """

    rows: Mapping[Place, Mapping[str, str]]
    by_site: bool
    of_rxrx3: bool = False

    def of(self, place: Place) -> Mapping[str, str]:
        """What is said of a site; empty where nothing is."""
        return self.rows.get(place if self.by_site else (*place[:3], ""), {})


def read(where: str, store: Store) -> Metadata:
    """The metadata at `where`: a table or a folder of tables; a local path, a URL, or a key of `store`.

    Raises:
        NotFoundError: neither a table nor a folder that holds one.
        DamagedError: not a table of text.
        RecipeError: a table without experiment, plate or well, or that says two things of one place.
    """
    given = _tables(where, store)
    by_site = all(_column(rows[0], "site") for _, rows in given)
    found: dict[Place, Mapping[str, str]] = {}
    for name, rows in given:
        columns = {key: _column(rows[0], key) for key in _ALIASES}
        if lost := [key for key in ("experiment", "plate", "well") if not columns[key]]:
            raise RecipeError(f"{name} has no column {lost[0]!r}", remedy="give a metadata table of an RxRx screen")
        for row in rows:
            place = _place(row, columns, name, by_site=by_site)
            told = _told(row, columns, name)
            if found.setdefault(place, told) != told:
                raise RecipeError(f"{name} says two things of {'_'.join(map(str, place)).rstrip('_')}")
    heads = {column.strip().lower() for _, rows in given for column in rows[0]}
    return Metadata(found, by_site, {"experiment_name", "address"} <= heads)


def _place(row: Mapping[str, str], columns: Mapping[str, str], name: str, *, by_site: bool) -> Place:
    plate = row[columns["plate"]]
    if not plate.isdecimal():
        raise RecipeError(f"{name} has a plate {plate!r}", remedy="plates of these screens are numbers")
    site = row[columns["site"]] if by_site else ""
    return row[columns["experiment"]], int(plate), normal(row[columns["well"]]), site.lstrip("0") or site


def _told(row: Mapping[str, str], columns: Mapping[str, str], name: str) -> dict[str, str]:
    """What a row says beside its place, under the names used here."""
    places = {column for column in columns.values() if column}
    told = {_NAMES.get(key, key): value for key, value in row.items() if key not in places and value}
    if "sirna_id" not in told and told.get("sirna", "").partition(".")[0].isdecimal():
        told["sirna_id"] = told.pop("sirna").partition(".")[0]  # pandas writes 12.0 where others are missing
    if name in _COMPETITION:
        told = {"dataset": name.partition(".")[0].removesuffix("_controls"), "well_type": "treatment"} | told
    told.setdefault("cell_type", row[columns["experiment"]].partition("-")[0])
    return told


def _tables(where: str, store: Store) -> list[tuple[str, list[dict[str, str]]]]:
    """Each table's name and rows."""
    if where.lower().removesuffix(".gz").endswith((".csv", ".tsv")):
        return [_table(where, store)]
    found = []
    for name in _COMPETITION:
        with suppress(NotFoundError):
            found.append(_table(f"{where.rstrip('/')}/{name}", store))
    return found or [_table(f"{where.rstrip('/')}/metadata.csv", store)]


def _table(where: str, store: Store) -> tuple[str, list[dict[str, str]]]:
    name = where.rpartition("/")[2]
    return name, tables.rows(tables.read(where, store, setting="metadata"), name)


def _column(row: Mapping[str, str], key: str) -> str:
    return next((column for column in row if column.strip().lower() in _ALIASES[key]), "")


def natural_place(place: Sequence[object]) -> str:
    """A place for messages: ``HEPG2-08_1_B2``."""
    return "_".join(str(part) for part in place if part != "")


def place_of(seen: re.Match[str]) -> Place:
    """The place that the groups experiment, plate, well and site of a name tell. Raises RecipeError for no well."""
    return seen["experiment"], int(seen["plate"]), normal(seen["well"]), str(int(seen["site"]))


def identity(study: str, place: Place) -> FieldId:
    """The identity of the site at a place; its plate is ``HEPG2-08_1``."""
    experiment, plate, well, site = place
    return FieldId(study, f"{experiment}_{plate}", well, site)


def order_of(place: Place) -> tuple[Any, ...]:
    """Sort key of natural order."""
    experiment, plate, well, site = place
    return natural(experiment), plate, order(well), natural(site)


def report(missing: Sequence[Place], silent: int, repeats: Sequence[Repeat]) -> None:
    """Log what tables and images do not say alike, and what is there more than once."""
    if missing:
        first = ", ".join(natural_place(place) for place in missing[:3])
        _log.warning("the tables tell of %d sites that have no images: %s", len(missing), first)
    if silent:
        _log.warning("the tables say nothing of %d sites", silent)
    if repeats:
        one = repeats[0]
        _log.warning("%d copies of sites are not used: %s is %s again", len(repeats), one.files[0], one.kept[0])
