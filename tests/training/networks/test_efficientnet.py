"""EfficientNet against the published numbers of its weights; its original padding has tests beside Keras."""

import pytest
import torch
from torch import nn

from phenostream.training.networks import efficientnet


def weights(module: nn.Module) -> int:
    return sum(one.numel() for one in module.parameters())


# With a classifier of 1000 classes, 3 channels: the numbers of the reference weights.
@pytest.mark.parametrize(
    ("size", "published"),
    [("b0", 5_288_548), ("b1", 7_794_184), ("b2", 9_109_994), ("b3", 12_233_232), ("b4", 19_341_616)],
)
def test_the_number_of_weights_is_the_published_one(size: str, published: int) -> None:
    network = efficientnet.backbone(3, efficientnet.Settings(size=size))
    assert weights(network) + weights(nn.Linear(network.width, 1000)) == published


def test_any_channels_and_sides() -> None:
    network = efficientnet.backbone(6, efficientnet.Settings(stem="small")).eval()
    with torch.no_grad():
        assert network(torch.rand(2, 6, 64, 47)).shape == (2, network.width) == (2, 1280)


@pytest.mark.parametrize("padding", ["tensorflow", "even"])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (5, 1), (3, 2), (5, 2)])
@pytest.mark.parametrize("side", [16, 17])
def test_the_grid_is_the_input_over_the_stride_rounded_up(padding: str, kernel: int, stride: int, side: int) -> None:
    convolution = efficientnet.Same(1, 1, kernel, stride, padding=padding)
    assert convolution(torch.rand(1, 1, side, side)).shape[2:] == (-(-side // stride),) * 2


def test_even_padding_sees_both_ends_alike() -> None:
    convolution = efficientnet.Same(1, 1, 3, 1, padding="even")
    nn.init.ones_(convolution.conv.weight)
    seen = convolution(torch.ones(1, 1, 6, 6))
    assert torch.equal(seen, seen.flip((2, 3)))


def test_a_left_out_block_is_the_identity_and_the_mean_is_kept() -> None:
    torch.manual_seed(0)
    block = efficientnet.Block(efficientnet.Shape(4, 1, 4, 1, 3), 0.5, "even").eval()
    image = torch.rand(1, 4, 4, 4).repeat(2000, 1, 1, 1)
    with torch.no_grad():
        whole = (block(image) - image)[0].flatten()
        block.training = True  # of the block alone: its norms stay as they are
        away = (block(image) - image).flatten(1)
    left_out = (away == 0).all(1)
    assert abs(float(left_out.float().mean()) - 0.5) < 0.05
    torch.testing.assert_close(away[~left_out][0], 2 * whole, atol=1e-5, rtol=1e-4)
