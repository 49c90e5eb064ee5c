"""The contrastive loss against its formula, term by term."""

from __future__ import annotations

import numpy as np
import torch

from phenostream.training.losses.contrastive import contrastive


def test_it_is_the_formula_of_the_paper():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 5, 3))
    views = np.concatenate([first, second])
    views /= np.linalg.norm(views, axis=1, keepdims=True)
    terms = []
    for i in range(10):
        partner = (i + 5) % 10
        others = [np.exp(views[i] @ views[k] / 0.2) for k in range(10) if k != i]
        terms.append(-np.log(np.exp(views[i] @ views[partner] / 0.2) / np.sum(others)))
    loss, _ = contrastive(torch.from_numpy(first).float(), torch.from_numpy(second).float(), 0.2)
    np.testing.assert_allclose(loss.item(), np.mean(terms), rtol=1e-5)


def test_equal_views_find_their_partner():
    views = torch.eye(6)
    loss, found = contrastive(views, views, 0.1)
    assert found.item() == 1
    assert loss.item() < 0.01
