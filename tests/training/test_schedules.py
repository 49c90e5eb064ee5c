from __future__ import annotations

import warnings

import pytest
import torch
from torch.optim import lr_scheduler

from phenostream.training.schedules import share


def witnessed(make, steps: int) -> list[float]:
    """The learning rates of one of torch's schedulers, highest 1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SequentialLR calls its own parts in a way that torch deprecates
        scheduler = make(optimizer)
        rates = []
        for _ in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
    return rates


@pytest.mark.parametrize(("steps", "warmup", "final"), [(40, 8, 0.0), (100, 1, 0.01), (25, 0, 0.2), (10, 9, 0.1)])
def test_cosine_is_that_of_torch(steps: int, warmup: int, final: float) -> None:
    def make(optimizer):
        cosine = lr_scheduler.CosineAnnealingLR(optimizer, steps - warmup, eta_min=final)
        if not warmup:
            return cosine
        rise = lr_scheduler.LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
        return lr_scheduler.SequentialLR(optimizer, [rise, cosine], [warmup])

    mine = [share("cosine", step, steps, warmup=warmup, final=final) for step in range(steps)]
    assert mine == pytest.approx(witnessed(make, steps), abs=1e-12)


@pytest.mark.parametrize(("steps", "warmup"), [(40, 8), (100, 30), (33, 11), (20, 2)])
def test_one_cycle_is_that_of_torch(steps: int, warmup: int) -> None:
    def make(optimizer):
        return lr_scheduler.OneCycleLR(
            optimizer, 1.0, total_steps=steps + 1, pct_start=warmup / (steps + 1), cycle_momentum=False
        )

    mine = [share("one-cycle", step, steps + 1, warmup=warmup) for step in range(steps)]
    assert mine == pytest.approx(witnessed(make, steps), abs=1e-12)


def test_constant_rises_then_stays() -> None:
    mine = [share("constant", step, 10, warmup=3) for step in range(10)]
    assert mine == pytest.approx([0.25, 0.5, 0.75, *[1.0] * 7])


@pytest.mark.parametrize("schedule", ["cosine", "one-cycle", "constant"])
@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("warmup", [0, 1])
def test_the_shortest_fits_have_a_rate(schedule, steps: int, warmup: int) -> None:
    rates = [share(schedule, step, steps, warmup=min(warmup, steps - 1)) for step in range(steps)]
    assert all(0 <= rate <= 1 for rate in rates)
    assert max(rates) == pytest.approx(1.0)
