"""The U-Net: shapes, how far it looks, and that it says the same of a part as of the whole."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from phenostream.training.networks.unet import UNet  # noqa: E402


@pytest.mark.parametrize("widths", [(4, 6), (4, 6, 8), (4, 6, 8, 10)])
def test_shapes(widths):
    network = UNet(inputs=2, outputs=5, widths=widths)
    assert network.stride == 2 ** len(widths)
    image = torch.zeros(3, 2, 2 * network.stride, 5 * network.stride)
    assert network(image).shape == (3, 5, *image.shape[2:])


@pytest.mark.parametrize("widths", [(3, 3), (3, 3, 3), (3, 3, 3, 3)])
def test_halo_is_no_less_than_what_a_pixel_depends_on(widths):
    network = UNet(inputs=1, outputs=1, widths=widths).eval()
    for weight in network.parameters():
        torch.nn.init.constant_(weight, 0.05)  # positive: nothing cancels, nothing is cut off
    side = 2 * network.halo + 2 * network.stride
    furthest = 0
    for place in range(network.stride):
        image = torch.rand(1, 1, side, side, requires_grad=True)
        row = network.halo + place
        network(image)[0, 0, row, row].backward()
        seen = image.grad[0, 0].abs().sum(dim=1).nonzero()
        furthest = max(furthest, row - int(seen.min()), int(seen.max()) - row)
    assert furthest <= network.halo <= 1.3 * furthest


def test_every_output_pixel_is_its_own():
    torch.manual_seed(0)
    network = UNet(inputs=1, outputs=1, widths=(8, 8)).eval()
    out = network(torch.zeros(1, 1, 16, 16))[0, 0]
    assert out[6:10:2, 6:10:2].std() < 1e-5 < out[6:8, 6:8].std()


def test_windows_equal_the_whole():
    torch.manual_seed(1)
    network = UNet(inputs=1, widths=(4, 6, 8)).eval()
    image = torch.rand(1, 1, 32 * network.stride, 4 * network.stride)
    whole = network(image)
    start = 8 * network.stride
    part = network(image[:, :, start:])
    assert torch.allclose(part[:, :, network.halo :], whole[:, :, start + network.halo :], atol=1e-5)


def test_it_learns_to_find_edges_between_pixels():
    torch.manual_seed(2)
    network = UNet(inputs=1, outputs=1, widths=(16, 16))
    step = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(150):
        image = (torch.rand(8, 1, 32, 32) > 0.5).float()
        wanted = torch.roll(image, 1, dims=3)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network(image)[..., 1:], wanted[..., 1:])
        step.zero_grad()
        loss.backward()
        step.step()
    assert loss < 0.2  # 0.69 says nothing
