"""ConvNeXt against the published numbers of its weights, and its parts against plain arithmetic."""

import pytest
import torch
from torch import nn

from phenostream.training.networks import convnext


def weights(module: nn.Module) -> int:
    return sum(one.numel() for one in module.parameters())


# With the reference weights of the first version (exact), and in the second paper (millions; 3 channels, 1000
# classes; the second version has GRN in place of the layer scale, which is 7 vectors more a block, under 0.3 %).
@pytest.mark.parametrize(
    ("size", "published", "within"),
    [
        ("tiny", 28_589_128, 0),
        ("atto", 3.7e6, 0.01),
        ("femto", 5.2e6, 0.01),
        ("pico", 9.1e6, 0.01),
        ("nano", 15.6e6, 0.01),
    ],
)
def test_the_number_of_weights_is_the_published_one(size: str, published: float, within: float) -> None:
    network = convnext.backbone(3, convnext.Settings(size=size))
    count = weights(network) + weights(nn.Linear(network.width, 1000))
    assert abs(count - published) <= within * published


def test_any_channels_and_sides() -> None:
    network = convnext.backbone(6, convnext.Settings(size="atto", patch=2)).eval()
    with torch.no_grad():
        assert network(torch.rand(2, 6, 64, 48)).shape == (2, 320)


def test_normalisation_is_over_channels_alone() -> None:
    image = torch.rand(2, 8, 3, 4) * 5 + 1
    seen = convnext.Across(8)(image)
    torch.testing.assert_close(seen.mean(1), torch.zeros(2, 3, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(seen.var(1, unbiased=False), torch.ones(2, 3, 4), atol=1e-4, rtol=0)


def test_a_left_out_block_is_the_identity_and_the_mean_is_kept() -> None:
    torch.manual_seed(0)
    block = convnext.Block(4, 0.5)
    nn.init.ones_(block.scale)
    image = torch.rand(1, 4, 4, 4).repeat(2000, 1, 1, 1)
    with torch.no_grad():
        away = (block.train()(image) - image).flatten(1)
        whole = (block.eval()(image) - image)[0].flatten()
    left_out = (away == 0).all(1)
    assert abs(float(left_out.float().mean()) - 0.5) < 0.05
    torch.testing.assert_close(away[~left_out][0], 2 * whole, atol=1e-5, rtol=1e-4)
