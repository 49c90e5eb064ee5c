"""Steps: the epoch's order, cut into batches, shared out to processes. Pure functions of seed, epoch and position."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from phenostream.datasets.loading import dice
from phenostream.datasets.loading.orders import rank_in_place
from phenostream.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from phenostream.datasets.loading.orders import Order
    from phenostream.datasets.loading.units import Units

    Integers = NDArray[np.int64]

_ORDER, _SITE = range(2)
Last = Literal["spread", "drop", "pad"]


@dataclass(frozen=True, slots=True)
class Share:
    """The part of every batch that this process takes.

    Attributes:
        rank: of this process, from 0.
        world: processes in all.

    Raises:
        RecipeError: a rank that is none.
    """

    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world:
            raise RecipeError(f"rank {self.rank} of {self.world}", remedy="ranks count from 0")


@dataclass(frozen=True, slots=True)
class State:
    """Where an epoch stands; ``dataclasses.asdict`` makes it a document, ``State(**document)`` this again.

    Attributes:
        seed: of the order.
        epoch: its number.
        position: units that all processes together have taken.
        plan: digest of what is ordered and how, so that a state is never continued on something else.
    """

    seed: int
    epoch: int
    position: int
    plan: str


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One batch of one process, before anything is read.

    Attributes:
        sites: (N,) numbers in the pack.
        groups: (N,) which of the batch's units each belongs to.
        keys: (N,) what each site's random numbers follow from: seed, epoch, site, and how often it came before.
        repeated: (N,) whether a site only fills up the batch.
        state: after this step.
    """

    sites: Integers
    groups: Integers
    keys: NDArray[np.uint64]
    repeated: NDArray[np.bool_]
    state: State


@dataclass(frozen=True, eq=False)
class Course:
    """All steps of all epochs for one process.

    Attributes:
        units: what is ordered.
        order: how.
        batch_size: units of a process in a step.
        seed: of the order.
        share: the part of this process.
        last: what happens to units that do not fill a step.

    Raises:
        RecipeError: units that cannot be spread over the processes, or an order whose batches would be cut.
    """

    units: Units
    order: Order
    batch_size: int
    seed: int
    share: Share
    last: Last

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise RecipeError(f"a batch of {self.batch_size}", remedy="batch_size is 1 or more")
        if not 0 <= self.seed < 2**63:
            raise RecipeError(f"seed {self.seed}", remedy="0 <= seed < 2**63")
        if self.order.whole and self.last == "spread":
            raise RecipeError("batches of this order cannot be spread", remedy="last: drop, or pad")
        if not self._sizes(self.epoch_size):
            raise RecipeError(
                f"{self.epoch_size:,} units do not fill one step of {self.full:,}",
                remedy="lower batch_size, or last: pad",
            )
        if self.last == "spread" and min(self._sizes(self.epoch_size)) < self.share.world:
            raise RecipeError(
                f"{self.epoch_size:,} units in steps of {self.full:,} leave a process without any",
                remedy="batch_size 2 or more, or last: drop or pad",
            )

    @property
    def full(self) -> int:
        """Units of a full step, of all processes."""
        return self.batch_size * self.share.world

    @cached_property
    def epoch_size(self) -> int:
        """Units that the order gives in an epoch, before any are dropped."""
        return len(self._drawn(0))

    @cached_property
    def plan(self) -> str:
        """See `State`."""
        told = [
            self.units.pack.description.tables.get("index.parquet"),
            repr(self.order),
            self.order.whole * self.batch_size,
        ]
        digest = hashlib.sha256(repr(told).encode())
        digest.update(np.ascontiguousarray(self.units.sites).tobytes())
        digest.update(np.ascontiguousarray(self.units.starts).tobytes())
        return digest.hexdigest()[:16]

    def __len__(self) -> int:
        """Steps of an epoch, the same for every process."""
        return len(self._sizes(len(self._drawn(0))))

    def start(self, epoch: int) -> State:
        """Before the first step of an epoch."""
        return State(self.seed, epoch, 0, self.plan)

    def before(self, step: int) -> State:
        """Before step `step`, counted from 0 over all epochs."""
        epoch, within = divmod(step, len(self))
        return State(self.seed, epoch, sum(self._sizes(self.epoch_size)[:within]), self.plan)

    def checked(self, state: State) -> State:
        """`state`, if it is one of this course. Raises RecipeError otherwise."""
        if (state.seed, state.plan) != (self.seed, self.plan):
            raise RecipeError(
                "the state is of another seed, another order, other sites or another pack",
                remedy="continue with what it was saved from, or begin an epoch",
            )
        return state

    def steps(self, state: State) -> Iterator[Step]:
        """What is left of the epoch of `state`."""
        drawn = self._drawn(state.epoch)
        often = rank_in_place(drawn) if self.order.repeats else np.zeros(len(drawn), np.int64)
        position = state.position
        for size in self._sizes(len(drawn) - position):
            taken = np.arange(position, position + size)
            filled = taken
            if self.last == "pad" and size < self.full:
                filled = np.concatenate([taken, np.resize(np.arange(len(drawn)), self.full - size)])
            position += size
            after = State(self.seed, state.epoch, position, self.plan)
            yield self._step(drawn, often, filled, np.arange(len(filled)) >= size, after)

    def forever(self, state: State) -> Iterator[Step]:
        """What is left of the epoch of `state`, then the next ones."""
        while True:
            yield from self.steps(state)
            state = self.start(state.epoch + 1)

    def _step(self, drawn: Integers, often: Integers, taken: Integers, extra: NDArray[np.bool_], after: State) -> Step:
        rank, world = self.share.rank, self.share.world
        own = slice(len(taken) * rank // world, len(taken) * (rank + 1) // world)
        sites, groups = self.units.members(drawn[taken[own]])
        repeated = extra[own][groups]
        before = often[taken[own]][groups] + repeated
        keys = dice.key(self.seed, _SITE, after.epoch, sites, before)
        return Step(sites, groups, keys, repeated, after)

    def _drawn(self, epoch: int) -> Integers:
        if epoch < 0:
            raise RecipeError(f"epoch {epoch}", remedy="epochs count from 0")
        if epoch not in self._orders:
            # Of the next epoch and this one: a stream over epochs needs both at the change.
            for old in sorted(self._orders)[:-1]:
                del self._orders[old]
            key = dice.key(self.seed, _ORDER, epoch)
            self._orders[epoch] = self.order.draw(self.units, key, self.batch_size)
        return self._orders[epoch]

    @cached_property
    def _orders(self) -> dict[int, Integers]:
        return {}

    def _sizes(self, left: int) -> list[int]:
        """Units of each step that is left; follows from how many are left, so that an epoch can be continued."""
        full, world = self.full, self.share.world
        many, rest = divmod(left, full)
        if self.last == "drop" or not rest:
            return [full] * many
        # A step with fewer units than processes would leave some idle: the last two are shared out.
        if self.last == "spread" and rest < world and many:
            return [*[full] * (many - 1), -(-(full + rest) // 2), (full + rest) // 2]
        return [*[full] * many, rest]
