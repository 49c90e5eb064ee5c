"""Augmentation: only what it says, from the key alone, evenly."""

import numpy as np
import pytest
from scipy import stats

from phenostream.datasets.loading import Augmentation, Balanced, LoadSettings, Share, Transform, batches, normalisation
from phenostream.errors import WrongShapeError

ALL = Augmentation(crop=(16, 16), gain=0.2, offset=0.1)


def by_site(loader, transform, number=0):
    return {int(s): p for batch in loader.epoch(number) for s, p in zip(batch.sites, transform(batch), strict=True)}


def equal(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[site], other[site]) for site in one)


def test_nothing_is_done_by_default(pack):
    batch = next(batches(pack, batch_size=4).epoch(0))
    assert np.array_equal(Transform()(batch), batch.pixels)
    assert Transform()(batch).dtype == pack.dtype


def test_a_site_looks_the_same_whatever_its_batch_thread_or_process(pack):
    transform = Transform(normalisation(pack), ALL)
    whole = by_site(batches(pack, batch_size=8), transform, 3)
    assert equal(whole, by_site(batches(pack, batch_size=5, settings=LoadSettings(threads=1)), transform, 3))
    assert equal(whole, by_site(batches(pack, batch_size=7, shuffle=False), transform, 3))
    shared = [by_site(batches(pack, batch_size=3, share=Share(rank, 2)), transform, 3) for rank in range(2)]
    assert equal(whole, shared[0] | shared[1])
    assert not equal(whole, by_site(batches(pack, batch_size=8), transform, 4))
    assert not equal(whole, by_site(batches(pack, batch_size=8, seed=1), transform, 3))


def test_views_are_crops_turned_and_mirrored(pack):
    """Every view is one of the crops of its site in one of the eight positions, and it says which."""
    transform = Transform(augmentation=Augmentation(crop=(16, 16)))
    for batch in batches(pack, batch_size=8):
        moves, views = transform.moves(batch), transform(batch)
        for at, site in enumerate(batch.sites):
            crop = pack[site][:, moves.top[at] : moves.top[at] + 16, moves.left[at] : moves.left[at] + 16]
            crop = np.flip(crop, 2) if moves.mirror[at] else crop
            for _ in range(moves.turn[at]):
                crop = np.flip(np.swapaxes(crop, 1, 2), 1)  # a quarter turn: transpose, then reverse the rows
            assert np.array_equal(views[at], crop)


def test_positions_are_alike_to_come(pack):
    loader = batches(pack, batch_size=64, shuffle=Balanced("experiment", 1500))
    told = [Transform(augmentation=ALL).moves(batch) for batch in loader.epoch(0)]
    top, left, turn, mirror = (np.concatenate([getattr(m, n) for m in told]) for n in ("top", "left", "turn", "mirror"))
    assert stats.chisquare(np.bincount(top, minlength=24 - 16 + 1)).pvalue > 1e-3
    assert stats.chisquare(np.bincount(left, minlength=32 - 16 + 1)).pvalue > 1e-3
    assert stats.chisquare(np.bincount(4 * mirror + turn, minlength=8)).pvalue > 1e-3
    gains = np.concatenate([np.log(one.scale) for one in told])
    shifts = np.concatenate([one.shift for one in told])
    assert stats.kstest(gains.ravel() / 0.2, "norm").pvalue > 1e-3
    assert stats.kstest(shifts.ravel() / 0.1, "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(gains.T) - np.eye(6)).max() < 0.1


def test_normalised_pixels_have_no_mean_and_unit_deviation(pack):
    batch = next(batches(pack, batch_size=8).epoch(0))
    found = Transform(normalisation(pack))(batch)
    assert found.dtype == np.float32
    assert np.abs(found.mean(axis=(2, 3))).max() < 1e-4
    assert found.std(axis=(2, 3)) == pytest.approx(1, abs=1e-4)


def test_fields_that_are_not_square_are_turned_by_half(pack):
    transform = Transform(augmentation=Augmentation())
    moves = transform.moves(next(batches(pack, batch_size=64).epoch(0)))
    assert {*moves.turn.tolist()} == {0, 2}
    assert transform(next(batches(pack, batch_size=4).epoch(0))).shape == (4, 6, 24, 32)


def test_evaluation_takes_the_centre(pack):
    batch = next(batches(pack, batch_size=4).epoch(0))
    found = Transform(augmentation=Augmentation(crop=(16, 16), place="centre", mirror=False, turn=False))(batch)
    assert np.array_equal(found, batch.pixels[:, :, 4:20, 8:24])
    with pytest.raises(WrongShapeError, match="a crop of 25 x 16 from 24 x 32"):
        Transform(augmentation=Augmentation(crop=(25, 16)))(batch)
