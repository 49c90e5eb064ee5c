from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim import swa_utils

from phenostream.training.averaging import Ema


def walk(network: nn.Module, steps: int):
    """A network whose weights and buffers change at random, step by step."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        with torch.no_grad():
            for tensor in [*network.parameters(), *network.buffers()]:
                if tensor.is_floating_point():
                    tensor.add_(torch.randn(tensor.shape, generator=generator))
        yield network


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999])
def test_the_mean_is_that_of_torch(decay: float) -> None:
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3))
    mine = Ema(network, decay, ramp=False)
    theirs = swa_utils.AveragedModel(network, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(decay))
    theirs.update_parameters(network)  # its first call only copies
    for changed in walk(network, 20):
        mine.update(changed)
        theirs.update_parameters(changed)
    for left, right in zip(mine.network.state_dict().values(), theirs.module.state_dict().values(), strict=True):
        torch.testing.assert_close(left, right)


def test_the_ramp_follows_its_formula() -> None:
    network = nn.Linear(1, 1, bias=False)
    mine, wanted = Ema(network, 0.9, ramp=True), float(network.weight.detach())
    for number, changed in enumerate(walk(network, 120)):
        mine.update(changed)
        decay = min(0.9, (1 + number) / (10 + number))
        wanted = decay * wanted + (1 - decay) * float(changed.weight.detach())
    assert float(mine.network.weight) == pytest.approx(wanted, rel=1e-4)


def test_the_mean_is_not_trained() -> None:
    mine = Ema(nn.Linear(2, 2), 0.9, ramp=False)
    assert not mine.network.training
    assert not any(weight.requires_grad for weight in mine.network.parameters())
