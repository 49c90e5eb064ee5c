"""Joins: tables that say more of sites, one after another, each on columns that what is known by then has.

JUMP publishes what lies in its wells so: ``well.csv.gz`` gives a well of a plate its ``Metadata_JCP2022``,
``compound.csv.gz`` gives that its structure, ``perturbation_control.csv`` says which of them are controls.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict
from pydantic import Field as Setting

from phenostream.errors import RecipeError
from phenostream.sources import tables
from phenostream.sources.wells import normal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from phenostream.values import Store

    Key = tuple[str, ...]
    Told = dict[str, str]

_log = logging.getLogger("phenostream.sources")


class Join(BaseModel):
    """A table, and the columns on which its rows are joined; names without ``Metadata_``, in small letters or not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    table: str = Setting(
        description="The table: .csv, .tsv, .gz or .parquet; a path, a URL, or a name below base.", min_length=1
    )
    by: tuple[str, ...] = Setting(description="Columns of the table and of what is known by then.", min_length=1)
    columns: tuple[str, ...] | dict[str, str] = Setting(
        (), description="Columns wanted, or each with the name that it gets; empty: all."
    )
    sparse: bool = Setting(False, description="The table may tell of no site at all: a list of controls.")


class Controls(BaseModel):
    """Which wells are controls, by a column of the tables: what becomes ``well_type``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str = Setting(description="Column that tells, for example pert_type or jcp2022.", min_length=1)
    values: dict[str, Literal["negative_control", "positive_control", "empty", "treatment"]] = Setting(
        description="Its values and what they are; all else is a treatment.", min_length=1
    )


@dataclass(slots=True)
class _Rows:
    """The rows of one table that are about the sites, and what is wrong with it.

    Attributes:
        names: of its columns, as they will be called.
        found: what is said of each key.
        twice: keys of which two things are said.
        bad: rows without a key that can be read.
        first_bad: number of the first of them.
        some: a key of the table, for messages.
    """

    names: set[str] = field(default_factory=set)
    found: dict[Key, Told] = field(default_factory=dict)
    twice: set[Key] = field(default_factory=set)
    bad: int = 0
    first_bad: int = 0
    some: Key = ()


def joined(
    sites: Sequence[Mapping[str, str]], joins: Sequence[Join], controls: Controls | None, store: Store
) -> tuple[list[Told], int]:
    """What is known of each site after all tables, and of how many sites none of them tells.

    Args:
        sites: what is known of each before, by names as in `Join`.
        joins: tables, in order.
        controls: what makes a ``well_type`` of sites that a table tells of.
        store: where tables are that are no local file and no URL.

    Raises:
        NotFoundError, DamagedError: a table that is not there, or none.
        RecipeError: a column that is not there; rows without a key; two things said of one key, or another thing than
            is known by then; a table that tells of no site. Each with how many.
    """
    known = [dict(site) for site in sites]
    told = [False] * len(known)
    names = {name for site in known for name in site}
    for join in joins:
        keys = [_key(site, join.by) for site in known]
        rows = _read(join, {key for key in keys if key}, store, names)
        _check(join, rows, keys)
        _extend(join, known, keys, rows)
        told = [before or key in rows.found for before, key in zip(told, keys, strict=True)]
        names |= rows.names
    if controls is not None:
        _mark(known, told, controls, names)
    return known, sum(not one for one in told) if joins else 0


def _key(site: Mapping[str, str], by: Sequence[str]) -> Key | None:
    """The values of a site in the columns `by`; None where it lacks one, or its well is none."""
    values = [site.get(tables.name_of(name), "") for name in by]
    if not all(values):
        return None
    try:
        return tuple(_value(name, value) for name, value in zip(by, values, strict=True))
    except RecipeError:
        return None


def _value(name: str, value: str) -> str:
    return normal(value) if tables.name_of(name) == "well" else tables.plain(value)


def _read(join: Join, wanted: set[Key], store: Store, names: set[str]) -> _Rows:
    """The rows of a table that have one of the keys `wanted`: tables of a consortium hold millions of others."""
    name, rows = _name(join), _Rows()
    if lost := [one for one in join.by if tables.name_of(one) not in names]:
        raise RecipeError(
            f"nothing is known of {lost[0]!r} to join {name} on; there is {', '.join(sorted(names))}",
            remedy="join the table that brings it first",
        )
    for number, row in enumerate(tables.each_row(tables.read(join.table, store, setting="metadata"), name), 2):
        if number == 2:
            chosen = _chosen(join, row)
            rows.names = set(chosen.values())
            called = {column: tables.name_of(column) for column in row}
        plain = {called[column]: value for column, value in row.items()}
        key = _key(plain, join.by)
        if key is None:
            rows.bad += 1
            rows.first_bad = rows.first_bad or number
            continue
        rows.some = rows.some or key
        if key in wanted:
            told = {chosen[column]: value for column, value in plain.items() if value and column in chosen}
            if rows.found.setdefault(key, told) != told:
                rows.twice.add(key)
    return rows


def _chosen(join: Join, row: Mapping[str, str]) -> dict[str, str]:
    """The columns of a table that are wanted, and the names that they get. Raises RecipeError for one it has not."""
    there = {tables.name_of(column): tables.name_of(column) for column in row}
    wanted = join.columns if isinstance(join.columns, dict) else {one: tables.name_of(one) for one in join.columns}
    if lost := [one for one in (*join.by, *wanted) if tables.name_of(one) not in there]:
        raise RecipeError(f"{_name(join)} has no column {lost[0]!r}", remedy=f"it has {', '.join(there)}")
    keys = {tables.name_of(one) for one in join.by}
    chosen = {tables.name_of(column): new for column, new in wanted.items()} or there
    return {column: new for column, new in chosen.items() if column not in keys}


def _check(join: Join, rows: _Rows, keys: Sequence[Key | None]) -> None:
    name, by = _name(join), ", ".join(join.by)
    if rows.bad:
        raise RecipeError(
            f"{rows.bad:,} rows of {name} have no {by}, or a well that is none; the first is row {rows.first_bad:,}",
            remedy="mend the table, or join on other columns",
        )
    if rows.twice:
        raise RecipeError(
            f"{name} says two things of {len(rows.twice):,} of {len({*keys} - {None}):,} values of {by}, the first "
            f"{' '.join(min(rows.twice))}",
            remedy="join on more columns, or take fewer of its columns",
        )
    met = sum(key in rows.found for key in keys)
    if not met and not join.sparse:
        mine = next((key for key in keys if key), ())
        raise RecipeError(
            f"{name} tells of none of {len(keys):,} sites by {by}: a site has {' '.join(mine) or 'none'}, the table "
            f"{' '.join(rows.some)}",
            remedy="join on other columns, or set sparse where that may be",
        )
    _log.info("%s tells of %d of %d sites", name, met, len(keys))


def _extend(join: Join, known: Sequence[Told], keys: Sequence[Key | None], rows: _Rows) -> None:
    """Add what the table says; nothing that is known is overwritten."""
    against: list[tuple[str, str, str]] = []
    for site, key in zip(known, keys, strict=True):
        for name, value in (rows.found.get(key, {}) if key else {}).items():
            old = site.get(name)
            if old and _value(name, old) != _value(name, value):
                against.append((name, old, value))
            site[name] = old or value
    if against:
        name, old, value = against[0]
        raise RecipeError(
            f"{_name(join)} says another {name} than is known of {sum(one[0] == name for one in against):,} sites, the "
            f"first {value!r} for {old!r}",
            remedy=f"give its column another name, columns: {{{name}: other_{name}}}, or leave it out",
        )


def _mark(known: Iterable[Told], told: Iterable[bool], controls: Controls, names: set[str]) -> None:
    column = tables.name_of(controls.column)
    if column not in names:
        raise RecipeError(
            f"no table has the column {controls.column!r} of the controls",
            remedy=f"there is {', '.join(sorted(names))}",
        )
    for site, is_told in zip(known, told, strict=True):
        if is_told or site.get(column):
            site["well_type"] = controls.values.get(site.get(column, ""), "treatment")


def _name(join: Join) -> str:
    return join.table.rpartition("/")[2]
