"""Views of sites: what they keep, and how much CutMix pastes."""

import numpy as np
import pytest
import torch

from phenostream import datasets
from phenostream.datasets import loading
from phenostream.training.classification.views import ViewSettings, cutmix, forgotten, noisy


def cut(pack: datasets.Pack, site: np.ndarray, settings: ViewSettings, seed: int) -> np.ndarray:
    """What the loader makes of one site under these settings."""
    batch = next(loading.batches(pack, batch_size=1, seed=seed, shuffle=False).epoch(0))
    alone = loading.Batch(site[None], batch.sites, batch.groups, batch.keys, batch.repeated, batch.state, pack)
    return loading.Transform(augmentation=settings.cut(site.shape))(alone)[0]


def test_cuts_are_the_eight_symmetries_of_a_part(pack: datasets.Pack) -> None:
    site = np.arange(2 * 6 * 6).reshape(2, 6, 6).astype(np.uint8)
    settings = ViewSettings(crop=4)
    parts = {site[:, y : y + 4, x : x + 4].tobytes() for y in range(3) for x in range(3)}
    turned = {
        np.ascontiguousarray(np.rot90(flipped, k, (1, 2))).tobytes()
        for y in range(3)
        for x in range(3)
        for flipped in (site[:, y : y + 4, x : x + 4], site[:, y : y + 4, x : x + 4][:, :, ::-1])
        for k in range(4)
    }
    seen = {cut(pack, site, settings, seed).tobytes() for seed in range(400)}
    assert seen <= turned
    assert len(seen) > 0.9 * len(turned)
    plain = {cut(pack, site, ViewSettings(crop=4, turn=False), seed).tobytes() for seed in range(100)}
    assert plain == parts


def test_sites_that_are_no_square_keep_their_shape(pack: datasets.Pack) -> None:
    site = np.zeros((1, 5, 7), np.uint8)
    assert all(cut(pack, site, ViewSettings(), seed).shape == (1, 5, 7) for seed in range(16))
    assert cut(pack, site, ViewSettings(crop=6), 0).shape == (1, 5, 6)


def test_what_is_told_is_forgotten_for_a_share_of_the_images() -> None:
    torch.manual_seed(0)
    told = torch.cat([torch.ones(4000, 1), torch.zeros(4000, 1), torch.full((4000, 2), 7.0)], dim=1)
    found = forgotten(told, 2, 0.25)
    assert float((found[:, 0] == 0).float().mean()) == pytest.approx(0.25, abs=0.03)
    assert torch.equal(found[:, 1:], told[:, 1:]), "what the normalisation needs is never forgotten"
    assert torch.equal(forgotten(told, 2, 0.0), told)


def test_the_share_of_cutmix_is_counted_in_pixels() -> None:
    torch.manual_seed(0)
    image = torch.arange(6.0)[:, None, None, None].expand(6, 1, 20, 20).contiguous()
    shares = []
    for _ in range(300):
        mixed, partner, own = cutmix(image, ViewSettings(cutmix_share=1.0))
        for place in range(6):
            kept = float((mixed[place] == place).float().mean())
            assert abs(kept - (1.0 if partner[place] == place else own)) < 1e-6
            assert set(mixed[place].unique().tolist()) <= {float(place), float(partner[place])}
        shares.append(own)
    assert min(shares) >= 0.45
    # Beta(1, 1) folded to the smaller part: a quarter is pasted on average.
    assert abs(np.mean(shares) - 0.75) < 0.03


def test_cutmix_can_be_switched_off() -> None:
    image = torch.rand(3, 1, 4, 4)
    for settings in (ViewSettings(cutmix=0), ViewSettings(cutmix_share=0)):
        mixed, partner, own = cutmix(image, settings)
        assert torch.equal(mixed, image)
        assert own == 1.0
        assert partner.tolist() == [0, 1, 2]


def test_noise_has_the_spread_asked_for() -> None:
    torch.manual_seed(0)
    image = torch.full((1, 1, 200, 200), 2.0)
    found = noisy(image, ViewSettings(multiply=0.1, add=0.3))
    assert abs(float(found.std()) - (0.2**2 + 0.3**2) ** 0.5) < 0.01
    assert torch.equal(noisy(image, ViewSettings(multiply=0, add=0)), image)
