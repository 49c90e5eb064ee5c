from __future__ import annotations

import random
from contextlib import suppress

import numpy as np
import pytest
import torch

from phenostream.errors import RecipeError
from phenostream.training.order import Order, own_randomness, seed_step


def test_an_epoch_takes_every_example_at_most_once() -> None:
    order = Order(23, 4, seed=1)
    drawn = [draw for step in range(order.steps) for draw in order.batch(step)]
    assert order.steps == 5
    assert len({draw.example for draw in drawn}) == len(drawn) == 20
    assert {draw.epoch for draw in drawn} == {0}
    assert {draw.epoch for draw in order.batch(order.steps)} == {1}


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    order = Order(50, 50, seed=1)
    first, second = ([draw.example for draw in order.batch(step)] for step in (0, 1))
    other = [draw.example for draw in Order(50, 50, seed=2).batch(0)]
    assert sorted(first) == sorted(second) == sorted(other) == list(range(50))
    assert first != second
    assert first != other
    assert first == [draw.example for draw in Order(50, 50, seed=1).batch(0)]


@pytest.mark.parametrize("world", [1, 2, 4])
def test_processes_share_a_batch(world: int) -> None:
    order = Order(32, 8, seed=3)
    together = [draw for rank in range(world) for draw in order.batch(2, rank=rank, world=world)]
    assert together == order.batch(2)


def test_the_generator_belongs_to_the_place_and_not_to_the_process() -> None:
    order = Order(32, 8, seed=3)
    whole = [order.rng(draw).random() for draw in order.batch(1)]
    shared = [order.rng(draw).random() for rank in range(2) for draw in order.batch(1, rank=rank, world=2)]
    later = [order.rng(draw).random() for draw in order.batch(1 + order.steps)]
    assert whole == shared
    assert len({*whole, *later}) == 16


def test_a_batch_over_an_epoch_is_refused() -> None:
    with pytest.raises(RecipeError, match="a batch of 9 from an epoch of 8"):
        Order(8, 9, seed=0)


def _drawn() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002


def test_a_step_seeds_every_global_generator() -> None:
    with own_randomness():
        seed_step(7, 12, 0)
        first = _drawn()
        _drawn()
        seed_step(7, 12, 0)
        assert _drawn() == first
        for other in ((7, 13, 0), (7, 12, 1), (8, 12, 0)):
            seed_step(*other)
            assert not set(_drawn()) & set(first)


def test_the_caller_keeps_its_own_generators() -> None:
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    wanted = _drawn()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    with suppress(ZeroDivisionError), own_randomness():
        seed_step(0, 0, 0)
        raise ZeroDivisionError
    assert _drawn() == wanted
