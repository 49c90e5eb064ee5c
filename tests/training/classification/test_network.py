"""The parts of the classifier: what normalisation makes invariant, and what symmetries do."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from phenostream.training import to_onnx
from phenostream.training.classification.network import Classifier, Exported, Normalise, turned


def classifier(how: str = "site", conditions: int = 2) -> Classifier:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    normalise = Normalise(how, [5.0, 6.0, 7.0], [1.0, 2.0, 3.0])
    made = Classifier(normalise, backbone, features=4, conditions=conditions, embedding=5, classes=3, margin=None)
    return made.eval()


def test_site_normalisation_is_blind_to_gain_and_offset() -> None:
    image = torch.randint(0, 200, (2, 3, 16, 16), dtype=torch.uint8)
    normalise = classifier().normalise
    seen = normalise(image, torch.zeros(2, 0))
    torch.testing.assert_close(seen.mean((2, 3)), torch.zeros(2, 3), atol=1e-4, rtol=0)
    torch.testing.assert_close(seen.std((2, 3), unbiased=False), torch.ones(2, 3), atol=1e-3, rtol=0)
    torch.testing.assert_close(normalise(image * 9.0 + 50, torch.zeros(2, 0)), seen, atol=1e-3, rtol=0)
    assert (normalise(torch.full((1, 3, 8, 8), 7.0), torch.zeros(1, 0)) == 0).all()


def test_plate_and_screen_normalisation_are_plain_scores() -> None:
    image = torch.rand(1, 3, 8, 8) * 10
    mean, std = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[4.0, 5.0, 6.0]])
    seen = classifier("plate").normalise(image, torch.cat([mean, std], 1))
    torch.testing.assert_close(seen, (image - mean[..., None, None]) / std[..., None, None], rtol=1e-3, atol=1e-3)
    fixed = classifier("screen").normalise(image, torch.zeros(1, 0))
    torch.testing.assert_close(fixed[0, 1], (image[0, 1] - 6) / 2, rtol=1e-3, atol=1e-3)


def test_the_package_reads_what_is_told_from_its_planes() -> None:
    network = classifier("plate")
    image, told = torch.rand(2, 3, 16, 16) * 9, torch.rand(2, network.told)
    planes = told[:, :, None, None].expand(-1, -1, 16, 16)
    logs, embedding = Exported(network, 1).eval()(torch.cat([image, planes], 1))
    logits, expected = network(image, told)
    torch.testing.assert_close(embedding, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logs, logits.log_softmax(1), rtol=1e-4, atol=1e-5)


class Seen(nn.Module):
    """What the backbone of a package sees."""

    def __init__(self, network: Classifier) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        told = image[:, 3:, 0, 0]
        return self.network.normalised(image[:, :3], told)


@pytest.mark.parametrize("how", ["site", "plate"])
def test_large_images_are_normalised_alike_in_the_package(how: str) -> None:
    """ONNX Runtime's own mean over rows and columns is off by 4e-3 of the standard deviation here."""
    network = classifier(how, conditions=0)
    rng = np.random.default_rng(0)
    image = rng.poisson(3000, (1, 3, 1500, 1500)).astype(np.float32)
    planes = np.broadcast_to(np.array([3000, 54] * 3, np.float32)[None, :network.told, None, None],
                             (1, network.told, 1500, 1500))  # fmt: skip
    whole = np.concatenate([image, planes], 1)
    small = torch.from_numpy(np.ascontiguousarray(whole[:, :, :16, :16])).repeat(2, 1, 1, 1)
    onnx = to_onnx(Seen(network).eval(), [small], dynamic={"image": {0: "n", 2: "y", 3: "x"}})
    (found,) = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"]).run(None, {"image": whole})
    exact = image.astype(float)
    mean, std = exact.mean((2, 3), keepdims=True), exact.std((2, 3), keepdims=True)
    wanted = (exact - mean) / std if how == "site" else (exact - planes[:, :3]) / planes[:, 3:]
    np.testing.assert_allclose(found, wanted, atol=3e-4, rtol=1e-4)


def test_eight_views_make_the_answer_independent_of_orientation() -> None:
    whole = Exported(classifier(conditions=0), 8).eval()
    image = torch.rand(1, 3, 16, 16)
    _, first = whole(image)
    for view in turned(image, 8):
        torch.testing.assert_close(whole(view)[1], first, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(Exported(classifier(conditions=0), 1).eval()(image.flip(2))[1], first, atol=1e-6)


def test_the_views_are_groups_of_different_symmetries() -> None:
    image = torch.arange(9.0).view(1, 1, 3, 3)
    assert len({tuple(one.flatten().tolist()) for one in turned(image, 8)}) == 8
    assert [len(turned(image, count)) for count in (1, 2, 4, 8)] == [1, 2, 4, 8]
