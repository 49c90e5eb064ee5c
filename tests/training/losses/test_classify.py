"""Softened and mixed cross-entropy against NumPy."""

import numpy as np
import torch

from phenostream.training.losses.classify import cross_entropy, mixed


def test_smoothed_labels_are_those_of_the_paper() -> None:
    rng = np.random.default_rng(0)
    logits, label = rng.normal(size=(7, 5)), rng.integers(5, size=7)
    target = np.full((7, 5), 0.1 / 5)
    target[np.arange(7), label] += 0.9
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = -(target * np.log(shares)).sum(1).mean()
    found = cross_entropy(torch.tensor(logits), torch.tensor(label), smoothing=0.1)
    assert abs(float(found) - expected) < 1e-6


def test_a_mixed_image_counts_for_both_classes() -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0]])
    first, second = torch.tensor([0]), torch.tensor([2])
    found = mixed(lambda label: cross_entropy(logits, label), first, second, 0.7)
    logs = np.log(np.exp([2, 0, -1]) / np.exp([2, 0, -1]).sum())
    assert abs(float(found) - -(0.7 * logs[0] + 0.3 * logs[2])) < 1e-6
