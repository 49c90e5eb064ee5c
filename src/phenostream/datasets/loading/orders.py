"""Orders: which unit comes when in an epoch. Each is a pure function of its key, and takes 8 bytes a unit of memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

from phenostream.datasets.loading import dice
from phenostream.errors import EmptyError, RecipeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phenostream.datasets.loading.dice import Keys
    from phenostream.datasets.loading.units import Units

    Integers = NDArray[np.int64]


class Order(Protocol):
    """Any frozen value with these three can be given as ``shuffle``.

    Attributes:
        repeats: whether a unit may come more than once in an epoch.
        whole: whether the order is made of batches that must not be cut.
    """

    repeats: ClassVar[bool]
    whole: ClassVar[bool]

    def draw(self, units: Units, key: Keys, batch_size: int) -> Integers:
        """Numbers of the units in the order of the epoch that `key` stands for."""
        ...


@dataclass(frozen=True, slots=True)
class InOrder:
    """As they were given."""

    repeats: ClassVar[bool] = False
    whole: ClassVar[bool] = False

    def draw(self, units: Units, key: Keys, batch_size: int) -> Integers:
        """See `Order`."""
        del key, batch_size
        return np.arange(len(units))


@dataclass(frozen=True, slots=True)
class Shuffled:
    """Every permutation alike: a full shuffle, each site then read on its own."""

    repeats: ClassVar[bool] = False
    whole: ClassVar[bool] = False

    def draw(self, units: Units, key: Keys, batch_size: int) -> Integers:
        """See `Order`."""
        del batch_size
        return dice.permutation(key, len(units))


@dataclass(frozen=True, slots=True)
class Windows:
    """Neighbours on disk stay near each other in time, so that remote reads can be joined.

    The units are cut into runs of neighbours (elsewhere in each epoch), the runs are shuffled, and units are shuffled
    within windows of them. Each unit is alike to come anywhere; neighbours come in one window, unless it is full.

    Attributes:
        window: units that are mixed. For each byte to be fetched once, their stored bytes should fit ``ahead_mb``.
        run: units that lie together on disk.
    """

    window: int = 512
    run: int = 8
    repeats: ClassVar[bool] = False
    whole: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 1 <= self.run <= self.window:
            raise RecipeError(f"runs of {self.run} in windows of {self.window}", remedy="1 <= run <= window")

    def draw(self, units: Units, key: Keys, batch_size: int) -> Integers:
        """See `Order`."""
        del batch_size
        count = len(units)
        first, runs, within = (dice.lots(dice.key(part, key), count + 1) for part in range(3))
        # A ring: the cut moves from epoch to epoch, and no end of it is special.
        place = (units.places() + int(first[0] % np.uint64(count))) % count
        sequence = np.lexsort((place, runs[place // self.run]))
        window = np.arange(count) // self.window
        return np.asarray(sequence[np.lexsort((within[:count], window))], np.int64)


@dataclass(frozen=True, slots=True)
class Balanced:
    """Every value of a column equally often.

    A value with fewer sites repeats them, each as often as the others give or take one; units without a value do not
    take part.

    Attributes:
        column: such as ``sirna_id`` or ``experiment``.
        per_value: draws of each value in an epoch; 0: as many as there are units for a value on average, rounded up.
    """

    column: str
    per_value: int = 0
    repeats: ClassVar[bool] = True
    whole: ClassVar[bool] = False

    def draw(self, units: Units, key: Keys, batch_size: int) -> Integers:
        """See `Order`. Raises EmptyError where no unit has a value."""
        del batch_size
        told, members = _labelled(units, self.column)
        counts = np.bincount(told)
        draws = self.per_value or -(-len(members) // len(counts))
        cycles = -(-draws // counts)[told]
        unit, value = np.repeat(members, cycles), np.repeat(told, cycles)
        cycle = np.arange(len(unit)) - np.repeat(np.cumsum(cycles) - cycles, cycles)
        order = np.lexsort((dice.lots(dice.key(1, key), len(unit)), cycle, value))
        kept = unit[order][_rank(value[order]) < draws]
        return np.asarray(kept[dice.permutation(dice.key(2, key), len(kept))], np.int64)


@dataclass(frozen=True, slots=True)
class Groups:
    """Batches of so many units of each of a few values: a plate or experiment at a time, or P x K for metric losses.

    A batch holds ``batch_size / each`` different values. An epoch has as many batches as can be made with no unit
    twice; what is over is left out, other units each epoch.

    Attributes:
        column: of the values, such as ``sirna_id`` or ``experiment``.
        each: units of each value in a batch.
        across: a column in which the units of one value shall differ as far as they can, such as ``experiment``, so
            that replicates of a batch come from different ones.
    """

    column: str
    each: int
    across: str = ""
    repeats: ClassVar[bool] = False
    whole: ClassVar[bool] = True

    def draw(self, units: Units, key: Keys, batch_size: int) -> Integers:
        """See `Order`. Raises RecipeError where values do not suffice for one batch, EmptyError without any."""
        if batch_size % self.each:
            raise RecipeError(f"{self.each} units a value in a batch of {batch_size}", remedy="choose a divisor")
        told, members = _labelled(units, self.column)
        lots = dice.lots(dice.key(1, key), len(members))
        layer = self._layers(units, told, members, lots)
        order = np.lexsort((lots, layer, told))
        told, members = told[order], members[order]
        left = np.bincount(told) // self.each
        starts = np.concatenate([[0], np.cumsum(np.bincount(told))[:-1]])
        drawn = _values_of_batches(left, batch_size // self.each, dice.key(2, key))
        if not len(drawn):
            raise RecipeError(
                f"{int((left > 0).sum())} values of {self.column} have {self.each} units, a batch needs "
                f"{batch_size // self.each}",
                remedy="lower batch_size or each",
            )
        values = drawn.ravel()
        first = starts[values] + self.each * rank_in_place(values)
        return np.asarray(members[(first[:, None] + np.arange(self.each)).ravel()], np.int64)

    def _layers(self, units: Units, told: Integers, members: Integers, lots: Keys) -> Integers:
        """How many units of the same value and `across` come before each: the first layer holds one of each."""
        if not self.across:
            return np.zeros(len(members), np.int64)
        other = units.codes(self.across)[members]
        joint = told * (other.max() + 2) + other + 1
        order = np.lexsort((lots, joint))
        layer = np.empty(len(members), np.int64)
        layer[order] = _rank(joint[order])
        return layer


def _labelled(units: Units, column: str) -> tuple[Integers, Integers]:
    """Values, renumbered without gaps, and numbers of the units that have one."""
    told = units.codes(column)
    members = np.flatnonzero(told >= 0)
    if not len(members):
        raise EmptyError(f"no chosen site has a value of {column}", remedy="choose others, or another column")
    return np.unique(told[members], return_inverse=True)[1].astype(np.int64), members


def _rank(ordered: Integers) -> Integers:
    """For values in order: how many of the same come before each."""
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    counts = np.diff(np.append(starts, len(ordered)))
    return np.arange(len(ordered)) - np.repeat(starts, counts)


def rank_in_place(values: Integers) -> Integers:
    """For values in any order: how many of the same come before each."""
    order = np.argsort(values, kind="stable")
    found = np.empty(len(values), np.int64)
    found[order] = _rank(values[order])
    return found


def _values_of_batches(left: Integers, wanted: int, key: Keys) -> Integers:
    """(batches, wanted) different values each, in as many batches as there can be, whatever the key.

    Drawn in proportion to what is left of them, but a value with as many left as there are batches must come now.
    Source: P. S. Efraimidis, P. G. Spirakis, "Weighted random sampling with a reservoir", Inf. Process. Lett. 97, 2006.
    """
    batches = _most_batches(left, wanted)
    left, found = left.copy(), np.empty((batches, wanted), np.int64)
    for number in range(batches):
        chances = np.log(dice.uniforms(dice.key(number, key), len(left))[0])
        score = np.where(left > 0, chances / np.maximum(left, 1), -np.inf)
        score[left >= batches - number] = np.inf
        found[number] = np.argsort(-score, kind="stable")[:wanted]
        left[found[number]] -= 1
    return found


def _most_batches(left: Integers, wanted: int) -> int:
    """The largest number of batches whose places can be filled, each value once a batch at most."""
    low, high = 0, int(left.sum()) // wanted
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.minimum(left, middle).sum() >= middle * wanted else (low, middle - 1)
    return low
