"""Two views of one thing should look alike, views of different things should not."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def contrastive(first: Tensor, second: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """The normalised temperature-scaled cross-entropy of SimCLR (Chen et al. 2020, arXiv:2002.05709).

    Args:
        first: (N, D), one view of each thing.
        second: (N, D), the other, in the same order.
        temperature: what cosines are divided by.

    Returns:
        The loss, and the share of views whose nearest other view is their partner.
    """
    views = functional.normalize(torch.cat([first, second]).float(), dim=1)
    cosines = (views @ views.T) / temperature
    cosines = cosines.masked_fill(torch.eye(len(views), dtype=torch.bool, device=views.device), -torch.inf)
    half = len(first)
    partner = torch.arange(len(views), device=views.device).roll(half)
    return functional.cross_entropy(cosines, partner), (cosines.argmax(dim=1) == partner).float().mean()
