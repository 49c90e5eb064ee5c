"""Views of crops: what changes, what does not."""

from __future__ import annotations

import numpy as np
import torch

from phenostream.training.embedding.views import ViewSettings, view

STILL = ViewSettings(zoom=0, shift=0, gamma=0, stretch=0, noise=0, blur=0)


def _disc(radius: float) -> torch.Tensor:
    y, x = torch.meshgrid(*[torch.arange(96) - 47.5] * 2, indexing="ij")
    return (1 / (1 + torch.exp(2 * (torch.hypot(y, x) - radius))))[None, None].repeat(16, 1, 1, 1)


def test_a_disc_in_the_middle_is_the_same_under_any_turn():
    torch.manual_seed(0)
    seen = view(_disc(14), 64, STILL)
    assert seen.shape == (16, 1, 64, 64)
    assert (seen - _disc(14)[:, :, 16:80, 16:80]).abs().max() < 0.1


def test_size_is_kept_within_the_zoom():
    torch.manual_seed(0)
    seen = view(_disc(14), 64, STILL.model_copy(update={"zoom": 0.2}))
    radii = ((seen > 0.5).sum((1, 2, 3)).float() / np.pi).sqrt()
    assert radii.std() > 0.5
    assert ((radii / 14).log().abs() < 0.25).all()


def test_everything_at_once_is_finite_and_seeded():
    crops = torch.rand(8, 1, 96, 96)
    crops[0] = 0
    torch.manual_seed(3)
    first = view(crops, 64, ViewSettings())
    torch.manual_seed(3)
    assert torch.equal(view(crops, 64, ViewSettings()), first)
    assert torch.isfinite(first).all()
