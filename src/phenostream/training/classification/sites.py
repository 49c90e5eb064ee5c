"""Sites of a pack with their labels: what is learnt from, and what it is judged on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from phenostream.datasets import open_pack
from phenostream.errors import EmptyError, RecipeError
from phenostream.training.classification.splits import SplitSettings, chosen, split, texts, wells

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from phenostream.datasets import Pack
    from phenostream.training.classification.splits import Where


@dataclass(frozen=True)
class Sites:
    """The sites of one pack that take part.

    Attributes:
        pack: where their pixels lie.
        channels: (C,) places of the chosen channels.
        names: of these channels.
        classes: names of the classes; a label is a place among them.
        conditions: values of the column that the network is told; empty where it is told nothing.
        train: (n,) sites to learn from.
        keep: (m,) sites to validate on.
        labels: (sites,) class of every site of the pack, -1 for none.
        condition: (sites,) condition of every site, -1 for none.
        wells: (sites,) well of every site.
        left_out: sites of the validation whose class is not learnt.
    """

    pack: Pack
    channels: NDArray[np.intp]
    names: tuple[str, ...]
    classes: tuple[str, ...]
    conditions: tuple[str, ...]
    train: NDArray[np.intp]
    keep: NDArray[np.intp]
    labels: NDArray[np.int64]
    condition: NDArray[np.int64]
    wells: NDArray[np.str_]
    left_out: int

    def moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(C,) mean and standard deviation of all pixels of the sites to learn from, in grey levels."""
        mean, std, _ = site_moments(self.pack.table.take(self.train), self.channels)
        whole = mean.mean(axis=0)
        return whole, np.sqrt((std**2 + mean**2).mean(axis=0) - whole**2)

    @cached_property
    def plates(self) -> NDArray[np.float32]:
        """(sites, 2 C) mean and standard deviation of each chosen channel on the plate of each site, in grey levels."""
        return plate_moments(self.pack.table, self.channels)

    def hashes(self) -> dict[str, str]:
        """SHA-256 of the pack's description, which holds those of its tables, which hold those of its sites."""
        payload = self.pack.store.read("pack.json")
        return {f"{Path(self.pack.base).name}/pack.json": hashlib.sha256(payload).hexdigest()}


def site_moments(
    table: pa.Table, channels: NDArray[np.intp] | list[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Mean and std (rows, C) of each site's pixels, and whether they are known: sites at fault stand as zeros."""
    known = np.array([one is not None for one in table["pixel_mean"].to_pylist()], bool)
    found = np.zeros((2, len(known), len(channels)))
    for place, name in enumerate(("pixel_mean", "pixel_std")):
        rows = [one for one in table[name].to_pylist() if one is not None]
        found[place, known] = np.array(rows, float).reshape(len(rows), -1)[:, channels] if rows else 0
    return found[0], found[1], known


def reasons(table: pa.Table) -> NDArray[np.str_]:
    """(rows,) why a site has no pixels to look at: its fault, or ``blank``; empty for all others."""
    blank = np.array([bool(one) for one in table["blank"].to_pylist()], bool)
    fault = texts(table, "fault")
    return np.where((fault == "") & blank, "blank", fault)


def plate_moments(table: pa.Table, channels: NDArray[np.intp] | list[int]) -> NDArray[np.float32]:
    """(rows, 2 C) mean and standard deviation of all pixels of each row's plate, in grey levels, from the sites' own.

    Blank sites and those at fault do not count.
    """
    mean, std, known = site_moments(table, channels)
    _, code = np.unique(texts(table, "plate"), return_inverse=True)
    good = known & (reasons(table) == "")
    count = np.maximum(np.bincount(code[good], minlength=int(code.max(initial=0)) + 1), 1)[:, None]
    first, second = np.zeros((2, len(count), mean.shape[1]))
    np.add.at(first, code[good], mean[good])
    np.add.at(second, code[good], std[good] ** 2 + mean[good] ** 2)
    whole = first / count
    spread = np.sqrt(np.maximum(second / count - whole**2, 0))
    return np.concatenate([whole, spread], axis=1)[code].astype(np.float32)


def open_sites(
    base: str,
    *,
    label: str,
    where: Where,
    channels: tuple[str, ...],
    condition: str,
    division: SplitSettings,
) -> Sites:
    """The sites of the pack at `base` that have a label and fit `where`, divided.

    Args:
        base: folder or URL of the pack.
        label: column of the classes.
        where: sites that take part at all.
        channels: names, in this order; none: all.
        condition: column of what the network is told besides the image; empty: nothing.
        division: into sites to learn from and to validate on.

    Raises:
        ChannelMissingError: a channel that the pack does not have.
        NotFoundError: no pack, or a column that is not there.
        EmptyError: no site takes part, or none of the validation has a class that is learnt.
        LeakageError: an experiment, plate or well on both sides.
        RecipeError: fewer than two classes.
    """
    pack = open_pack(base)
    names = channels or pack.channels
    places = np.array([pack.channel(name) for name in names], np.intp)
    given = texts(pack.table, label)
    rows = np.intersect1d(chosen(pack.table, where, "where"), _whole(pack.table, given))
    if not len(rows):
        raise EmptyError(f"no whole site has a {label}", remedy="test sites of a competition have none: name others")
    told = split(pack.table.take(rows), division)
    train, keep = rows[told.train], rows[told.keep]
    classes = tuple(sorted(set(given[train].tolist()), key=_order))
    if len(classes) < 2:
        raise RecipeError(f"all sites to learn from have {label} {classes[0]!r}", remedy="name more of them")
    labels, known = _places(given, classes), len(keep)
    keep = keep[labels[keep] >= 0]
    if known and not len(keep):
        raise EmptyError(
            f"the sites of the validation share no {label} with those to learn from", remedy="check `split` and `label`"
        )
    kinds = texts(pack.table, condition) if condition else np.full(len(given), "")
    conditions = tuple(sorted(set(kinds[train].tolist()) - {""}))
    return Sites(
        pack, places, tuple(names), classes, conditions, train, keep, labels, _places(kinds, conditions),
        wells(pack.table), known - len(keep),
    )  # fmt: skip


def _whole(table: pa.Table, given: NDArray[np.str_]) -> NDArray[np.intp]:
    """Rows with a label and pixels: blanks that a policy kept are no examples."""
    return np.flatnonzero((given != "") & (reasons(table) == ""))


def _places(values: NDArray[np.str_], known: tuple[str, ...]) -> NDArray[np.int64]:
    number = {name: place for place, name in enumerate(known)}
    return np.array([number.get(one, -1) for one in values.tolist()], np.int64)


def _order(name: str) -> tuple[bool, int, str]:
    """Numbers by value, words after them by letters."""
    return (False, int(name), name) if name.isdecimal() else (True, 0, name)
