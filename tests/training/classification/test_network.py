"""The parts of the classifier: what normalisation makes invariant, and what symmetries do."""

import torch
from torch import nn

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
