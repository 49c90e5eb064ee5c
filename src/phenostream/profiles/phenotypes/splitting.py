"""Ways to split cells into training and test: by cell, by what cells share, and leaving one group out at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from phenostream.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from phenostream.profiles.phenotypes.labels import Labelled

    Rows = NDArray[np.intp]

LEAVE_ONE = "leave-one-image-out"


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """Row indices of one training and one test set, which share no cell (and no group)."""

    train: Rows
    test: Rows


def splits(cells: Labelled, by: str = LEAVE_ONE, *, folds: int = 7, seed: int = 0) -> list[Fold]:
    """Folds under one way to split; every cell is tested once.

    Args:
        cells: labelled cells with their groups.
        by: ``cell`` (cells of one image on both sides: figures are too good, for comparison only), ``image``, ``well``,
            ``plate``, or ``leave-one-<group>-out``.
        folds: how many, unless one group is left out at a time. Groups are dealt so that every fold has about its
            share of every class.
        seed: of the dealing.

    Raises:
        RecipeError: an unknown way, or too few groups.
    """
    if by == "cell":
        return _folds(_dealt_cells(cells.label, folds, seed), folds)
    name, single = group_of(by), leaves_one_out(by)
    if name not in cells.groups:
        raise RecipeError(
            f"cannot split by {by!r}: the cells have no {name}",
            remedy=f"choose among cell, {', '.join(cells.groups)}, or leave-one-image-out",
        )
    _, codes = np.unique(cells.groups[name], return_inverse=True)
    count = int(codes.max()) + 1
    if count < (2 if single else folds):
        raise RecipeError(f"{count} groups of cells by {name} do not make {folds} folds", remedy="use fewer folds")
    if single:
        return _folds(codes.ravel(), count)
    return _folds(deal(cells.label, codes.ravel(), folds, seed), folds)


def leaves_one_out(by: str) -> bool:
    """Whether one group is left out at a time."""
    return by.startswith("leave-one-")


def group_of(by: str) -> str:
    """What cells share that are never on both sides: ``image`` of ``leave-one-image-out``."""
    return by.removeprefix("leave-one-").removesuffix("-out")


def deal(label: NDArray[np.intp], groups: NDArray[np.intp], folds: int, seed: int) -> NDArray[np.intp]:
    """(n,) fold of each cell: whole groups, dealt so that the classes spread evenly.

    The groups whose classes are most uneven go first, each to the fold where the spread of the classes' shares then is
    least (the smallest fold where several tie), as scikit-learn's StratifiedGroupKFold does.
    """
    size = int(label.max()) + 1
    counts = np.zeros((int(groups.max()) + 1, size))
    np.add.at(counts, (groups, label), 1)
    shares = counts / np.maximum(counts.sum(axis=0), 1)
    order = np.random.default_rng(seed).permutation(len(counts))
    order = order[np.argsort(-counts[order].std(axis=1), kind="stable")]
    held, chosen = np.zeros((folds, size)), np.zeros(len(counts), np.intp)
    cells = np.zeros(folds)
    for group in order:
        spread = [
            np.std(held + shares[group] * (np.arange(folds) == fold)[:, None], axis=0).mean() for fold in range(folds)
        ]
        best = np.flatnonzero(np.isclose(spread, np.min(spread), rtol=1e-9, atol=1e-12))
        fold = best[cells[best].argmin()]
        chosen[group] = fold
        held[fold] += shares[group]
        cells[fold] += counts[group].sum()
    return chosen[groups]


def inner_folds(cells: Labelled, by: str, folds: int, seed: int) -> Iterator[Fold]:
    """Folds inside a training set, by the same group as outside, so that selection sees what testing will see."""
    known = cells.groups.get(group_of(by))
    if known is None:
        dealt = _dealt_cells(cells.label, folds, seed)
    else:
        codes = np.unique(known, return_inverse=True)[1].ravel()
        few = min(folds, int(codes.max()) + 1)
        dealt = deal(cells.label, codes, few, seed) if few > 1 else _dealt_cells(cells.label, folds, seed)
    yield from _folds(dealt, int(dealt.max()) + 1)


def _dealt_cells(label: NDArray[np.intp], folds: int, seed: int) -> NDArray[np.intp]:
    if folds < 2 or folds > len(label):
        raise RecipeError(f"{folds} folds of {len(label)} cells", remedy="use 2 folds or more, and no more than cells")
    order = np.random.default_rng(seed).permutation(len(label))
    order = order[np.argsort(label[order], kind="stable")]
    dealt = np.empty(len(label), np.intp)
    dealt[order] = np.arange(len(label)) % folds
    return dealt


def _folds(dealt: NDArray[np.intp], count: int) -> list[Fold]:
    made: Sequence[Fold] = [Fold(np.flatnonzero(dealt != one), np.flatnonzero(dealt == one)) for one in range(count)]
    return [fold for fold in made if len(fold.test) and len(fold.train)]
