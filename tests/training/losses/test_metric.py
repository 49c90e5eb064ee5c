"""Metric losses against loops that follow the papers' equations word by word."""

import math

import numpy as np
import torch

from phenostream.training.losses.metric import ArcFace, supervised_contrastive


def test_arcface_is_equation_3_of_its_paper() -> None:
    torch.manual_seed(1)
    loss = ArcFace(4, 3, scale=30, margin=0.5)
    x = torch.randn(6, 4)
    label = torch.tensor([0, 1, 2, 0, 1, 2])
    centres = loss.centres.detach().numpy()
    total = 0.0
    for one, own in zip(x.numpy(), label.numpy(), strict=True):
        angles = [math.acos(one @ c / np.linalg.norm(one) / np.linalg.norm(c)) for c in centres]
        top = [30 * math.cos(a + 0.5 * (k == own)) for k, a in enumerate(angles)]
        assert angles[own] + 0.5 < math.pi
        total += math.log(sum(math.exp(t - top[own]) for t in top))
    assert abs(float(loss(x, label).detach()) - total / 6) < 1e-4


def test_arcface_gets_no_easier_beyond_pi_and_keeps_finite_slopes() -> None:
    loss = ArcFace(2, 2)
    with torch.no_grad():
        loss.centres.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    angles = torch.linspace(0, math.pi, 200)
    x = torch.stack([angles.cos(), -angles.sin()], 1).requires_grad_()
    own = torch.stack([loss(one[None], torch.tensor([0])) for one in x])
    own.sum().backward()
    assert torch.isfinite(x.grad).all()
    assert (own[angles > math.pi / 2].diff() > -1e-4).all()


def test_the_contrastive_loss_is_equation_2_of_its_paper() -> None:
    rng = np.random.default_rng(2)
    z, label = rng.normal(size=(8, 3)), np.array([0, 0, 1, 1, 1, 2, 3, 3])
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    told = []
    for i in range(8):
        others = [a for a in range(8) if a != i]
        same = [p for p in others if label[p] == label[i]]
        if same:
            below = sum(math.exp(unit[i] @ unit[a] / 0.2) for a in others)
            told.append(-np.mean([math.log(math.exp(unit[i] @ unit[p] / 0.2) / below) for p in same]))
    found = supervised_contrastive(torch.tensor(z), torch.tensor(label), temperature=0.2)
    assert abs(float(found) - np.mean(told)) < 1e-5


def test_a_batch_without_pairs_has_no_contrastive_loss() -> None:
    x = torch.randn(3, 4, requires_grad=True)
    found = supervised_contrastive(x, torch.arange(3))
    found.backward()
    assert float(found.detach()) == 0
    assert torch.isfinite(x.grad).all()
