"""What is shuffled and split: single sites, or sites that stay together (those of a well)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from phenostream.errors import EmptyError, OutOfRangeError, RecipeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from phenostream.datasets.packs import Pack

    Integers = NDArray[np.int64]


class Units:
    """The chosen sites of a pack, in units of one site or of several.

    Attributes:
        pack: where they lie.
        sites: (M,) numbers of the sites, unit after unit.
        starts: (U + 1,) where each unit begins in `sites`.
    """

    def __init__(self, pack: Pack, sites: Integers, together: Sequence[str] = ()) -> None:
        """Put the `sites` of `pack` that agree in the columns `together` into one unit, in order of first appearance.

        Raises RecipeError for an unknown column.
        """
        self.pack = pack
        if not together:
            self.sites, self.starts = sites, np.arange(len(sites) + 1)
            return
        codes = joint_codes(pack.table, together)[sites]
        _, first, number = np.unique(codes, return_index=True, return_inverse=True)
        rank = np.argsort(np.argsort(first))[number]
        order = np.argsort(rank, kind="stable")
        self.sites = sites[order]
        self.starts = np.concatenate([[0], np.cumsum(np.bincount(rank))])

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def largest(self) -> int:
        """Sites of the largest unit."""
        return int(np.diff(self.starts).max())

    def codes(self, column: str) -> Integers:
        """(U,) a number for each distinct value of a column, that of a unit's first site; -1 where there is none."""
        return codes(self.pack.table, column)[0][self.sites[self.starts[:-1]]]

    def places(self) -> Integers:
        """(U,) the rank of each unit in the order in which first sites lie on disk."""
        first = self.sites[self.starts[:-1]]
        order = np.lexsort((self.pack.offsets[first], self.pack.shard_numbers[first]))
        return np.argsort(order)

    def members(self, units: Integers) -> tuple[Integers, Integers]:
        """The sites of `units` in their order, and for each site the place of its unit among `units`."""
        counts = self.starts[units + 1] - self.starts[units]
        group = np.repeat(np.arange(len(units)), counts)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return self.sites[self.starts[units][group] + within], group


def choose(pack: Pack, sites: ArrayLike | pc.Expression | None) -> Integers:
    """Numbers of the sites that `sites` names: numbers, a mask (N,), a filter of the index, or None for all.

    Raises:
        OutOfRangeError: a number that is none, or a mask of another length.
        EmptyError: no site.
        RecipeError: a filter that does not fit the index.
    """
    if isinstance(sites, pc.Expression):
        found = _filtered(pack.table, sites)
    elif sites is None:
        found = np.arange(len(pack))
    else:
        found = np.asarray(sites)
        if found.dtype == bool:
            if found.shape != (len(pack),):
                raise OutOfRangeError(f"a mask of shape {found.shape} of {len(pack):,} sites")
            found = np.flatnonzero(found)
    found = found.astype(np.int64).ravel()
    if not len(found):
        raise EmptyError("no site is chosen", remedy="choose some: names and values stand in pack.table")
    if found.min() < 0 or found.max() >= len(pack):
        raise OutOfRangeError(f"site {found.min() if found.min() < 0 else found.max()} of {len(pack):,}")
    return found


def codes(table: pa.Table, column: str) -> tuple[Integers, list[Any]]:
    """A number (N,) for each distinct value of a column, sorted values; -1 where there is none.

    Raises RecipeError where there is no such column.
    """
    if column not in table.column_names:
        raise RecipeError(f"no column {column!r}", remedy=f"there are {', '.join(table.column_names)}")
    told = table[column].combine_chunks().dictionary_encode()
    values: list[Any] = told.dictionary.to_pylist()
    order = sorted(range(len(values)), key=lambda at: values[at])
    rank = np.empty(len(values) + 1, np.int64)
    rank[order], rank[-1] = np.arange(len(values)), -1
    return rank[told.indices.fill_null(-1).to_numpy(zero_copy_only=False)], [values[at] for at in order]


def joint_codes(table: pa.Table, columns: Sequence[str]) -> Integers:
    """A number (N,) for each distinct combination of values of several columns; none counts as a value."""
    joint = np.zeros(table.num_rows, np.int64)
    for column in columns:
        found, values = codes(table, column)
        _, joint = np.unique(joint * (len(values) + 1) + found + 1, return_inverse=True)
    return joint


def _filtered(table: pa.Table, wanted: pc.Expression) -> Integers:
    numbered = table.append_column("site number", pa.array(np.arange(table.num_rows)))
    try:
        kept = numbered.filter(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise RecipeError(
            f"the filter does not fit the index: {error}", remedy=f"columns are {', '.join(table.column_names)}"
        ) from error
    return np.asarray(kept["site number"].to_numpy(), np.int64)
