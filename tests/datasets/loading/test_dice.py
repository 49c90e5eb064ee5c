"""Random numbers from keys: the published sequence, uniform, and different for different keys."""

import numpy as np
from scipy import stats

from phenostream.datasets.loading import dice


def test_words_are_those_of_splitmix64():
    """The reference implementation's first outputs for the seed 1234567."""
    told = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    assert dice.words(np.array([1234567], np.uint64), 5).tolist() == [told]


def test_numbers_are_uniform_and_normal_across_keys_and_along_them():
    keys = dice.key(7, np.arange(20_000))
    for numbers in (dice.uniforms(keys, 3)[:, 2], dice.uniforms(keys[:1], 20_000)[0]):
        assert stats.kstest(numbers, "uniform").pvalue > 1e-3
    assert stats.kstest(dice.normals(keys, 1)[:, 0], "norm").pvalue > 1e-3
    draws = dice.uniforms(keys, 4)
    assert np.abs(np.corrcoef(draws.T) - np.eye(4)).max() < 0.03
    assert abs(np.corrcoef(draws[:-1, 0], draws[1:, 0])[0, 1]) < 0.03


def test_every_part_of_a_key_counts_in_its_place():
    keys = [int(dice.key(*parts)[0]) for parts in ((0,), (1,), (0, 0), (0, 1), (1, 0), (0, 0, 0))]
    assert len({*keys}) == len(keys)


def test_a_permutation_has_each_number_once():
    found = dice.permutation(dice.key(3), 1000)
    assert sorted(found) == list(range(1000))
    assert not np.array_equal(found, dice.permutation(dice.key(4), 1000))
