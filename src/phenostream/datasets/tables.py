"""The index of a pack as a table: one row a site, each column with its role, values in the type that they have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from phenostream.datasets.statistics import PERCENTILES
from phenostream.values import Column, Field, FieldId, with_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from phenostream.datasets.looking import Finding
    from phenostream.datasets.statistics import SiteStatistics

IDENTITY: Final = ("study", "plate", "well", "site", "time", "z")
STORAGE: Final = ("array", "slot", "shard", "offset", "length", "crc32c")
_LISTS: Final = ("pixel_mean", "pixel_std", "pixel_min", "pixel_max", *(f"pixel_p{p:02.0f}" for p in PERCENTILES),
                 "pixel_saturated")  # fmt: skip
QUALITY: Final = (*_LISTS, "blank", "suspicion", "fault", "message", "files")
_RESERVED: Final = {*IDENTITY, *STORAGE, *QUALITY}


def site_id(field: Field) -> str:
    """Name of a site: the archive's own where it has one, else plate, well and site, and time and z where not 0."""
    one = field.id
    moments = [f"t{one.time}"] * bool(one.time) + [f"z{one.z}"] * bool(one.z)
    own = "_".join(part for part in (one.plate, one.well, one.site, *moments) if part)
    return field.annotation.get("site_id") or own


def identity_row(field: Field) -> dict[str, Any]:
    """What a site's row says of where it comes from: id, identity and annotation; a reserved name gets a tail ``_``."""
    told = {f"{key}_" if key in _RESERVED else key: value for key, value in field.annotation.items()}
    identity = {name: getattr(field.id, name) for name in IDENTITY}
    return {"site_id": site_id(field), **identity, **{key: told[key] for key in told if key != "site_id"}}


def statistics_row(found: SiteStatistics) -> dict[str, Any]:
    """What a site's row says of its pixels, a list a channel."""
    values = (found.mean, found.std, found.least, found.most, *found.percentiles, found.saturated)
    told: dict[str, Any] = {name: one.tolist() for name, one in zip(_LISTS, values, strict=True)}
    return told | {"blank": bool(found.flat.all())}


def fields_of(table: pa.Table) -> list[Field]:
    """The sites of an index as fields without pixels, in its order: what strategies arrange."""
    extra = [name for name in table.column_names if name not in IDENTITY]
    fields = []
    for row in table.select([*IDENTITY, *extra]).to_pylist():
        told = {name: str(row[name]) for name in extra if row[name] is not None and not isinstance(row[name], list)}
        fields.append(Field(FieldId(**{name: row[name] for name in IDENTITY}), annotation=told))
    return fields


def fault_row(found: Finding) -> dict[str, Any]:
    """What a site's row says of its fault."""
    return {"fault": found.reason, "message": found.message, "files": list(found.files)}


def findings_table(parts: Iterable[pa.Table], refused: Sequence[Finding], absent: Iterable[Field]) -> pa.Table:
    """One row a finding: site_id, identity, annotation, fault, message, files.

    Args:
        parts: rows of shards; those at fault are taken.
        refused: findings of sites that no shard was given.
        absent: what is told of some of these.
    """
    told = {field.id: identity_row(field) for field in absent}
    bare = [told.get(one.id, {name: getattr(one.id, name) for name in IDENTITY}) | fault_row(one) for one in refused]
    faulty = [table.filter(table["fault"].is_valid()) for table in parts]
    whole = pa.concat_tables([*faulty, part_table([{"site_id": None}, *bare], 0)[1:]], promote_options="permissive")
    extra = [name for name in whole.column_names if name not in _RESERVED and name != "site_id"]
    order = ["site_id", *IDENTITY, *extra, "fault", "message", "files"]
    return pa.table({name: typed(whole[name].to_pylist()) if name in extra else whole[name] for name in order})


def part_table(rows: Sequence[Mapping[str, Any]], channels: int) -> pa.Table:
    """The rows of one shard, annotations as words, faulty sites included."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    extra = [name for name in names if name not in _RESERVED and name != "site_id"]
    order = ["site_id", *IDENTITY, *extra, *STORAGE, *QUALITY]
    return pa.table({name: _column(name, [row.get(name) for row in rows], channels) for name in order})


def index_table(parts: Iterable[pa.Table]) -> pa.Table:
    """The index of the sites that stand in a pack: typed annotations, each column with its role."""
    whole = pa.concat_tables(parts, promote_options="default")
    whole = whole.filter(whole["offset"].is_valid()).drop_columns(["message", "files"])
    extra = [name for name in whole.column_names if name not in _RESERVED and name != "site_id"]
    order = ["site_id", *IDENTITY, *extra, *STORAGE, *(name for name in QUALITY if name in whole.column_names)]
    columns = {name: typed(whole[name].to_pylist()) if name in extra else whole[name] for name in order}
    return with_columns(pa.table(columns).combine_chunks(), [Column(name, role=_role(name)) for name in order])


def typed(words: Sequence[str | None]) -> pa.Array[Any]:
    """An Arrow array of words: int64 or double where every one that is there is written as one, null where empty.

    ``007`` stays a word: numbers are only what is written as Python writes them, or with a point.
    """
    there = [word for word in words if word not in (None, "")]
    kind = next((kind for kind in (int, float) if there and all(_is(word, kind) for word in there)), str)
    arrow: Any = {int: pa.int64(), float: pa.float64(), str: pa.string()}[kind]
    found: pa.Array[Any] = pa.array([kind(word) if word not in (None, "") else None for word in words], arrow)
    return found


def _is(word: str | None, kind: type[int | float]) -> bool:
    text = str(word)
    try:
        number = kind(text)
    except ValueError:
        return False
    if kind is int:
        return str(number) == text and abs(number) < 2**63
    return _is_decimal(text) and (not text.lstrip("-").isdecimal() or abs(number) <= 2**53)


def _is_decimal(text: str) -> bool:
    """Whether a float is written without padding, so that nothing is lost by reading it as one."""
    whole = text.lstrip("-").partition(".")[0].partition("e")[0]
    return "_" not in text and (whole == "0" or not whole.startswith("0")) and whole[:1].isdecimal()


def _column(name: str, values: list[Any], channels: int) -> pa.Array[Any]:
    if name in _LISTS:
        return pa.array(values, pa.list_(pa.float64(), channels))
    kinds: dict[str, Any] = dict.fromkeys(("time", "z", "slot", "offset", "length"), pa.int64())
    kinds |= {"crc32c": pa.uint32(), "blank": pa.bool_(), "files": pa.list_(pa.string())}
    told = [str(value) if value is not None and name not in kinds else value for value in values]
    found: pa.Array[Any] = pa.array(told, kinds.get(name, pa.string()))
    return found


def _role(name: str) -> Any:
    return "qc" if name in QUALITY else "metadata"
