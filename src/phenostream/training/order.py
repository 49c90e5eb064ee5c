"""Which example comes when, and every random stream: pure functions of the seed, so that there is no state to lose."""

from __future__ import annotations

import random
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from phenostream.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

# One key a stream, so that no two ever share their numbers.
_ORDER, _EXAMPLE, _NETWORK, _STEP, _VALIDATE = range(5)


class Draw(NamedTuple):
    """One example's place: its epoch, its position in the epoch's order, its number among the task's examples."""

    epoch: int
    position: int
    example: int


@dataclass(frozen=True, slots=True)
class Order:
    """The order of a whole fit.

    Attributes:
        size: examples an epoch.
        batch_size: examples a step, over all processes.
        seed: of the fit.
    """

    size: int
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        if self.size < self.batch_size:
            raise RecipeError(
                f"a batch of {self.batch_size} from an epoch of {self.size} examples",
                remedy="lower train.batch_size, or let the task offer more examples an epoch",
            )

    @property
    def steps(self) -> int:
        """Steps an epoch; what does not fill a batch is left out, another part each epoch."""
        return self.size // self.batch_size

    def batch(self, step: int, *, rank: int = 0, world: int = 1) -> list[Draw]:
        """The examples of optimizer step `step` (from 0 over the whole fit) that process `rank` of `world` takes."""
        epoch, within = divmod(step, self.steps)
        order = _permutation(self.seed, epoch, self.size)
        share = self.batch_size // world
        first = within * self.batch_size + rank * share
        return [Draw(epoch, position, int(order[position])) for position in range(first, first + share)]

    def rng(self, draw: Draw) -> np.random.Generator:
        """The generator that augments one example."""
        return np.random.default_rng([self.seed, _EXAMPLE, draw.epoch, draw.position])


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, size: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, _ORDER, epoch]).permutation(size)


def seed_network(seed: int) -> None:
    """Seed the global generators for a network's first weights."""
    _seed(seed, _NETWORK)


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed the global generators for one step of one process."""
    _seed(seed, _STEP, step, rank)


def seed_validation(seed: int, step: int) -> None:
    """Seed the global generators for the validation after `step` steps."""
    _seed(seed, _VALIDATE, step)


def _seed(*key: int) -> None:
    words = np.random.SeedSequence(key).generate_state(3, np.uint32)
    random.seed(int(words[0]))
    np.random.seed(words[1])  # noqa: NPY002  (a task's library may use the legacy generator)
    torch.manual_seed(int(words[2]))


@contextmanager
def own_randomness() -> Iterator[None]:
    """Give the caller's global generators back as they were."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
