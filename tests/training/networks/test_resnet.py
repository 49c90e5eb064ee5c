"""ResNet against the published numbers of its weights, and against the arithmetic of the paper's table 1."""

import pytest
import torch
from torch import nn

from phenostream.training.networks import resnet


def weights(module: nn.Module) -> int:
    return sum(one.numel() for one in module.parameters())


# As published with the reference weights of each depth (3 channels, 1000 classes).
@pytest.mark.parametrize(
    ("depth", "published"),
    [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032), (101, 44_549_160), (152, 60_192_808), (200, 64_673_832)],
)
def test_the_number_of_weights_is_the_published_one(depth: int, published: int) -> None:
    network = resnet.backbone(3, resnet.Settings(depth=depth))
    assert weights(network) + weights(nn.Linear(network.width, 1000)) == published


@pytest.mark.parametrize(("depth", "width"), [(18, 512), (50, 2048)])
def test_six_channels_change_only_the_stem(depth: int, width: int) -> None:
    settings = resnet.Settings(depth=depth)
    six, three = resnet.backbone(6, settings), resnet.backbone(3, settings)
    assert six.width == width
    assert weights(six) - weights(three) == 3 * 7 * 7 * 64


def test_every_stage_halves_the_grid() -> None:
    network = resnet.backbone(2, resnet.Settings(depth=18, width=4)).eval()
    sides = []
    for block in network.stages:
        block.register_forward_hook(lambda _m, _i, out: sides.append(tuple(out.shape[1:])))
    with torch.no_grad():
        assert network(torch.zeros(1, 2, 224, 224)).shape == (1, 32)
    # Table 1 of the paper: 56, 28, 14 and 7 pixels.
    assert sides == [(4, 56, 56)] * 2 + [(8, 28, 28)] * 2 + [(16, 14, 14)] * 2 + [(32, 7, 7)] * 2


def test_a_fresh_block_is_its_shortcut() -> None:
    torch.manual_seed(0)
    block = resnet.backbone(1, resnet.Settings(depth=50, width=4)).stages[1].eval()
    image = torch.rand(2, 16, 5, 5)
    torch.testing.assert_close(block(image), image)


def test_the_small_stem_keeps_more_of_the_grid() -> None:
    network = resnet.backbone(6, resnet.Settings(depth=18, width=4, stem="small")).eval()
    assert network.stem(torch.zeros(1, 6, 64, 64)).shape == (1, 4, 32, 32)
    assert network(torch.zeros(1, 6, 65, 63)).shape == (1, 32)
