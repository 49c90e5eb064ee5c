"""What the cell network promises of its input."""

from __future__ import annotations

import pytest
import torch

from phenostream.training.networks.cellnet import CellNet, Described, Settings, scaled, turns

SMALL = Settings(widths=(4, 8, 16), depths=(1, 2))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return CellNet(SMALL).eval()


@torch.no_grad()
def test_gain_and_offset_do_not_matter_to_the_trunk(network):
    crops = torch.rand(3, 1, 64, 64)
    assert torch.allclose(network(crops * 7 + 3), network(crops), atol=1e-4)
    assert network(crops).shape == (3, 16)


@torch.no_grad()
def test_eight_views_are_blind_to_the_symmetries_of_the_square(network):
    crops = torch.rand(2, 1, 64, 64)
    described = Described(network, 8)
    whole = described(crops)
    for one in (torch.rot90(crops, 1, (2, 3)), crops.flip(3), crops.transpose(2, 3)):
        assert torch.allclose(described(one), whole, atol=1e-5)
        assert not torch.allclose(Described(network, 1)(one), Described(network, 1)(crops), atol=1e-5)
    assert torch.allclose(Described(network, 2)(crops.flip((2, 3))), Described(network, 2)(crops), atol=1e-5)
    assert len({one.numpy().tobytes() for one in turns(crops)}) == 8


@torch.no_grad()
def test_range_and_mean_are_told(network):
    crops = torch.rand(2, 1, 64, 64)
    told = Described(network)(crops * 0.5 + 0.2)[:, -2:]
    span, mean = (torch.log(value * 0.5 + 1e-3) for value in (
        crops.amax((1, 2, 3)) - crops.amin((1, 2, 3)), crops.mean((1, 2, 3)) - crops.amin((1, 2, 3))))  # fmt: skip
    assert torch.allclose(told, torch.stack([span, mean], 1), atol=1e-4)


def test_flat_crops_are_finite(network):
    flat = torch.full((1, 1, 64, 64), 0.3)
    assert (scaled(flat) == -1).all()
    assert torch.isfinite(Described(network)(flat)).all()
