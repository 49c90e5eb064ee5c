"""Rows of an IDR table to images: which rows are meant, and which well, site and frames each names."""

from __future__ import annotations

import hashlib
import heapq
from collections import defaultdict
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from phenostream.sources.catalogs._idr_places import named, numbered
from phenostream.sources.catalogs._idr_tables import Sheet, header, refuse, sheets
from phenostream.sources.wells import normal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from phenostream.sources.catalogs.idr import Sample, Settings

_GENES = ("Original Gene Target", "Gene Symbol", "Gene Identifier")
_OPTIONAL = ("Well", "Well Number", "Frames", "Site", "Control Type", *_GENES, "Gene_Replicate", "Plate Issues")
_NOTHING = ("", "na", "nan", "null", "none")


class Image(NamedTuple):
    """One frame of one well, as the table has it."""

    plate: str
    well: str
    number: int
    site: int
    frame: int
    gene: str
    control: str
    replicate: str
    extra: tuple[tuple[str, str], ...] = ()


def images(table: Path, settings: Settings, chosen: Callable[[str], bool]) -> Iterator[Image]:
    """The images of the rows that the settings choose, in the order of the table; `chosen` says which plates.

    Raises:
        RecipeError: the table is missing or malformed; names file, row and column.
    """
    names, _ = header(table)
    well_columns = [name for name in ("Well", "Well Number") if name in names]
    if not well_columns:
        refuse(table, "there is neither 'Well' nor 'Well Number'", row=1, remedy="name the columns as IDR does")
    frames = () if settings.annotation else ("Frames",)
    for sheet in sheets(table, required=("Plate", *well_columns, *frames, *settings.carry), optional=_OPTIONAL):
        yield from _exploded(_chosen(sheet, settings, chosen), settings)


def _chosen(sheet: Sheet, settings: Settings, chosen: Callable[[str], bool]) -> Sheet:
    kept = sheet.where("Plate", chosen)
    if settings.drop_plate_issues and kept.has("Plate Issues"):
        kept = kept.where("Plate Issues", _nothing)
    if settings.controls != "all" and not kept.has("Control Type"):
        refuse(kept.path, "the column is missing", row=1, column="Control Type", remedy="set controls: all")
    if kept.has("Control Type"):
        kept = kept.where("Control Type", lambda told: _is_control(told, settings.controls))
    if settings.drop_empty_wells and kept.has("Control Type"):
        kept = kept.where("Control Type", lambda told: not told.lower().startswith("empty"))
    return kept


def _exploded(sheet: Sheet, settings: Settings) -> Iterator[Image]:
    wells, sites, frames = _wells(sheet, settings), _sites(sheet), _frames(sheet, settings)
    extras = [[(_plain(name), value) for value in sheet.column(name)] for name in settings.carry]
    carried = zip(*extras, strict=True) if extras else iter(lambda: (), None)
    rows = zip(
        sheet.column("Plate"), wells, sites, frames, _genes(sheet), sheet.column("Control Type"),
        sheet.column("Gene_Replicate"), carried, strict=False,
    )  # fmt: skip
    for plate, (well, number), site, several, gene, control, replicate, extra in rows:
        if _wanted(well, settings):
            for frame in several:
                yield Image(plate, well, number, site, frame, gene, control, replicate or "1", extra)


def _wells(sheet: Sheet, settings: Settings) -> Iterator[tuple[str, int]]:
    """Name and number of each row's well, from whichever columns there are; two that disagree are refused."""
    columns = settings.plate_columns
    if not sheet.has("Well"):
        known = sheet.parsed(
            "Well Number", lambda text: (named(int(text), columns), int(text)), wanted="a well's number, like 4"
        )
        return (known[text] for text in sheet.column("Well Number"))
    by_name = sheet.parsed(
        "Well",
        lambda text: (normal(text), numbered(normal(text), columns)),
        wanted=f"a well of {columns} columns, like A4",
    )
    if sheet.has("Well Number"):
        numbers = sheet.parsed("Well Number", int, wanted="a well's number, like 4")
        return _agreeing(sheet, by_name, numbers)
    return (by_name[text] for text in sheet.column("Well"))


def _agreeing(
    sheet: Sheet, by_name: Mapping[str, tuple[str, int]], numbers: Mapping[str, int]
) -> Iterator[tuple[str, int]]:
    for position, (text, told) in enumerate(zip(sheet.column("Well"), sheet.column("Well Number"), strict=True)):
        well = by_name[text]
        if well[1] != numbers[told]:
            row = sheet.numbers[position].as_py()
            what = f"well {text} has number {well[1]}, not {told}"
            refuse(sheet.path, what, row=row, column="Well Number", remedy="set plate_columns to the plate's columns")
        yield well


def _sites(sheet: Sheet) -> Iterator[int]:
    known = sheet.parsed("Site", _count, wanted="a site's number, from 1") if sheet.has("Site") else {"": 1}
    return (known[text] for text in sheet.column("Site"))


def _frames(sheet: Sheet, settings: Settings) -> Iterator[tuple[int, ...]]:
    if not sheet.has("Frames"):
        return (settings.frames for _ in range(len(sheet)))
    known = sheet.parsed(
        "Frames",
        lambda text: tuple(_count(one) for one in text.split(",")),
        wanted="frames from 1, like 50 or 30,40,50",
    )
    chosen = set(settings.frames)
    kept = {text: tuple(one for one in told if not chosen or one in chosen) for text, told in known.items()}
    return (kept[text] for text in sheet.column("Frames"))


def _genes(sheet: Sheet) -> Iterator[str]:
    """The gene of each row: the first of the gene columns that says one; a negative control is its own gene."""
    columns = [sheet.column(name) for name in _GENES if sheet.has(name)]
    for row, control in enumerate(sheet.column("Control Type")):
        told = next((column[row] for column in columns if not _nothing(column[row])), "")
        yield told or ("negative control" if _is_control(control, "negative") else "")


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _nothing(text: str) -> bool:
    return text.strip().lower() in _NOTHING


def _is_control(told: str, wanted: str) -> bool:
    kind = told.strip().lower()
    match wanted:
        case "all":
            return True
        case "any":
            return kind.startswith(("negative", "positive"))
        case "samples":
            return _nothing(kind)
        case _:
            return kind.startswith(wanted)


def _wanted(well: str, settings: Settings) -> bool:
    return matches(well, settings.wells) and not (settings.drop_wells and matches(well, settings.drop_wells))


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def _plain(column: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in column).strip("_")


def sampled(images: Iterable[Image], sample: Sample) -> Iterator[Image]:
    """The `n` images of each group with the smallest keyed hash: independent of the table's order and length."""
    groups: dict[str, list[tuple[int, int, Image]]] = defaultdict(list)
    for position, image in enumerate(images):
        group, entry = groups[_group(image, sample.per)], (-_rank(image, sample.seed), position, image)
        if len(group) < sample.n:
            heapq.heappush(group, entry)
        else:
            heapq.heappushpop(group, entry)
    kept = sorted((entry for group in groups.values() for entry in group), key=lambda entry: entry[1])
    return (image for _, _, image in kept)


def _group(image: Image, per: str) -> str:
    keys = {"plate": image.plate, "well": f"{image.plate}\t{image.well}", "control": image.control, "gene": image.gene}
    return keys.get(per, "")


def _rank(image: Image, seed: int) -> int:
    name = f"{seed}\t{image.plate}\t{image.well}\t{image.site}\t{image.frame}"
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
