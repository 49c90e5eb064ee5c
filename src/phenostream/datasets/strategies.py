"""Strategies: which sites lie together, and in which order; each a pure function of identities and a seed.

* ``stable-SEED``, the default: a shelf a plate, or a shelf for each value of any columns; inside, the order of a keyed
  hash of the site's identity. Nothing depends on which other sites there are: a subset is laid out as in the whole.
* ``random-SEED`` and ``by_exp_plate_site-SEED``: the partitions of recursionpharma/rxrx1-utils, site for site.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from phenostream.errors import RecipeError
from phenostream.sources.names import natural

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

    from phenostream.datasets.settings import PackSettings
    from phenostream.values import Field, FieldId

_IDENTITY = ("study", "plate", "well", "site", "time", "z")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
DATASETS = ("test", "train")
"""The datasets of RxRx1, in the order in which the original hands out its generators."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """Sites that lie together: a name that is fit for a path, and the sites in their order."""

    name: str
    fields: tuple[Field, ...]


def identity(field: Field) -> str:
    """The identity of a site as one line."""
    one = field.id
    return "|".join(map(str, (one.study, one.plate, one.well, one.site, one.time, one.z)))


def value(field: Field, column: str) -> str:
    """What `column` of a site's row says: a part of its identity, or an annotation; empty where it says nothing."""
    if column in _IDENTITY:
        return str(getattr(field.id, column))
    return str(field.annotation.get(column, ""))


def arrange(
    fields: Sequence[Field],
    strategy: str,
    seed: int,
    *,
    by: Sequence[str] = ("plate",),
    size: int = 1500,
    absent: Sequence[Field] = (),
) -> list[Shelf]:
    """The shelves of a strategy by its name.

    Args:
        fields: sites to arrange.
        strategy: ``stable``, ``random`` or ``by_exp_plate_site``.
        seed: of the order.
        by: of meaning to ``stable``.
        size: of meaning to ``random``.
        absent: sites that a table tells of and that have no images. The strategies of the original, which shuffles its
            table and does not look for images, put them on their shelves too; ``stable`` leaves them out.
    """
    if strategy == "stable":
        return stable(fields, seed, by=by)
    told = [*fields, *absent]
    return random(told, seed, sites_per_shelf=size) if strategy == "random" else by_exp_plate_site(told, seed)


def shelves(fields: Sequence[Field], absent: Sequence[Field], settings: PackSettings) -> list[Shelf]:
    """The shelves that the settings ask for, absent sites in their places."""
    return arrange(
        fields, settings.strategy, settings.seed, by=settings.by, size=settings.sites_per_shelf, absent=absent
    )


def cut(shelf: Shelf, most: int, given: Container[FieldId]) -> Iterator[tuple[int, tuple[Field | None, ...]]]:
    """The parts of a shelf that hold a site which is `given`, with their numbers; other sites are empty slots in them.

    Args:
        shelf: what to cut.
        most: sites of a part.
        given: sites that have images; others keep their places.
    """
    for number, start in enumerate(range(0, len(shelf.fields), most)):
        slots = tuple(one if one.id in given else None for one in shelf.fields[start : start + most])
        if any(slots):
            yield number, slots


def stable(fields: Iterable[Field], seed: int, *, by: Sequence[str] = ("plate",)) -> list[Shelf]:
    """A shelf for each distinct value of the columns `by` (one in all where there are none), in natural order.

    Raises RecipeError for a column that no site has.
    """
    key = seed.to_bytes(8, "little", signed=True)

    def order(field: Field) -> bytes:
        return hashlib.blake2b(identity(field).encode(), digest_size=16, key=key).digest()

    groups = _grouped(fields, by)
    return [
        Shelf(_name(words) or "all", tuple(sorted(groups[words], key=order)))
        for words in sorted(groups, key=lambda words: [natural(word) for word in words])
    ]


def random(fields: Iterable[Field], seed: int, *, sites_per_shelf: int = 1500) -> list[Shelf]:
    """Shelves ``random-SEED/train/001`` ...: each dataset's treatments sorted, shuffled as a whole, and cut.

    The same partition as rxrx1-utils makes of the same table and seed: a NumPy RandomState of `seed` gives a seed below
    2^32 - 1 to each of ``DATASETS`` in turn, whether there or not, and a RandomState of that permutes the rows.
    Controls, which the original leaves out, lie on shelves of their own, ``random-SEED/train_controls/001``.

    Raises RecipeError where a site does not say its dataset, experiment and plate.
    """
    sites, shelves = list(fields), []
    known = treated(sites)
    for dataset, rows in _datasets(sites):
        treatments, controls = _parted(rows, known)
        for suffix, members, rng in (
            ("", treatments, _generators(seed)[dataset]),
            ("_controls", controls, _generator_of(f"random-{seed}/{dataset}_controls")),
        ):
            shuffled = _shuffled(members, rng)
            for number, start in enumerate(range(0, len(shuffled), sites_per_shelf), 1):
                name = f"random-{seed}/{dataset}{suffix}/{number:03d}"
                shelves.append(Shelf(name, tuple(shuffled[start : start + sites_per_shelf])))
    return shelves


def by_exp_plate_site(fields: Iterable[Field], seed: int) -> list[Shelf]:
    """Shelves ``by_exp_plate_site-SEED/HEPG2-01_p1_s1`` ...: treatments shuffled inside.

    As `random`, with a dataset's generator used up shelf by shelf, in the order of experiment, plate and site. Controls
    lie on shelves ``by_exp_plate_site-SEED_controls/HEPG2-01_p1_s1``.
    """
    sites, shelves = list(fields), []
    known = treated(sites)
    for dataset, rows in _datasets(sites):
        treatments, controls = _parted(rows, known)
        rng = _generators(seed)[dataset]
        for (experiment, plate, site), members in _by_place(treatments):
            name = f"by_exp_plate_site-{seed}/{_safe(experiment)}_p{plate}_s{site}"
            shelves.append(Shelf(name, tuple(_shuffled(members, rng))))
        for (experiment, plate, site), members in _by_place(controls):
            name = f"by_exp_plate_site-{seed}_controls/{_safe(experiment)}_p{plate}_s{site}"
            shelves.append(Shelf(name, tuple(_shuffled(members, _generator_of(name)))))
    return shelves


def place(field: Field) -> tuple[str, int, str, int]:
    """Experiment, plate number, padded well (``B02``) and site number, as RxRx1's tables tell them.

    Raises RecipeError where the site does not say them.
    """
    told = field.annotation
    experiment = told.get("experiment", "")
    number = told.get("plate_number") or field.id.plate.removeprefix(f"{experiment}_")
    if not experiment or not number.isdecimal() or not field.id.site.isdecimal():
        raise RecipeError(
            f"site {field.id} does not say its experiment, and plate and site by number",
            remedy="this strategy is that of RxRx1; use stable with any columns",
        )
    return experiment, int(number), padded(field.id.well), int(field.id.site)


def treated(fields: Iterable[Field]) -> set[FieldId]:
    """The sites of treatments, by their ``well_type``; all where no site has one.

    Where others have one, a site without is in no table of treatments.
    """
    told = {field.id: field.annotation.get("well_type", "") for field in fields}
    usual = "" if any(told.values()) else "treatment"
    return {one for one, kind in told.items() if (kind or usual) == "treatment"}


def padded(well: str) -> str:
    """A well as RxRx1 writes it: ``B2`` is ``B02``."""
    row = well.rstrip("0123456789")
    return f"{row}{int(well[len(row) :]):02d}" if row != well else well


def _datasets(fields: Iterable[Field]) -> Iterator[tuple[str, list[Field]]]:
    """Each dataset's sites, sorted as the original sorts its table."""
    found: dict[str, list[Field]] = {}
    for field in fields:
        found.setdefault(field.annotation.get("dataset", ""), []).append(field)
    if unknown := sorted(found.keys() - {*DATASETS}):
        raise RecipeError(
            f"sites of dataset {unknown[0]!r}", remedy=f"this strategy knows {' and '.join(DATASETS)}, as RxRx1 does"
        )
    for dataset in sorted(found):
        yield dataset, sorted(found[dataset], key=place)


def _parted(rows: Iterable[Field], known: Container[FieldId]) -> tuple[list[Field], list[Field]]:
    """Treatments, which are the `known` ones, and controls."""
    parts: tuple[list[Field], list[Field]] = ([], [])
    for row in rows:
        parts[row.id not in known].append(row)
    return parts


def _by_place(rows: Iterable[Field]) -> list[tuple[tuple[str, int, int], list[Field]]]:
    groups: dict[tuple[str, int, int], list[Field]] = {}
    for row in rows:
        experiment, plate, _, site = place(row)
        groups.setdefault((experiment, plate, site), []).append(row)
    return sorted(groups.items(), key=lambda item: item[0])


def _generator_of(name: str) -> np.random.RandomState:
    digest = hashlib.blake2b(name.encode(), digest_size=4).digest()
    return np.random.RandomState(int.from_bytes(digest, "little"))


def _generators(seed: int) -> Mapping[str, np.random.RandomState]:
    # The legacy generators, whose streams NumPy keeps as they are for ever: they define the partition.
    master = np.random.RandomState(seed)
    return {dataset: np.random.RandomState(master.randint(2**32 - 1)) for dataset in DATASETS}


def _shuffled(rows: Sequence[Field], rng: np.random.RandomState) -> list[Field]:
    return [rows[position] for position in rng.permutation(len(rows))]


def _grouped(fields: Iterable[Field], by: Sequence[str]) -> dict[tuple[str, ...], list[Field]]:
    groups: dict[tuple[str, ...], list[Field]] = {}
    for field in fields:
        groups.setdefault(tuple(value(field, column) for column in by), []).append(field)
    for at, column in enumerate(by):
        if column not in _IDENTITY and groups and not any(words[at] for words in groups):
            raise RecipeError(f"no site says its {column!r}", remedy="group by columns that the sites have")
    return groups


def _name(words: Sequence[str]) -> str:
    """A name for a group that is fit for a path, distinct for distinct groups."""
    plain = "_".join(words)
    safe = _safe(plain)
    return (
        safe
        if safe == plain and len(words) < 2
        else f"{safe}-{hashlib.blake2b(repr(words).encode(), digest_size=4).hexdigest()}"
    )


def _safe(text: str) -> str:
    return _UNSAFE.sub("_", text).lstrip(".")
