"""Splits: nothing shared between training and test, every cell tested once, classes spread."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from phenostream.errors import RecipeError
from phenostream.profiles.phenotypes.labels import Labelled
from phenostream.profiles.phenotypes.splitting import inner_folds, splits


def cells(count: int = 600, groups: int = 60) -> Labelled:
    rng = np.random.default_rng(0)
    group = rng.integers(0, groups, count)
    label = (group + rng.integers(0, 3, count)) % 4
    names = {"image": group.astype(str), "well": (group // 3).astype(str), "plate": (group // 12).astype(str)}
    return Labelled(
        rng.normal(size=(count, 3)), ("a", "b", "c"), tuple("wxyz"), label, names, np.arange(count).astype(str)
    )


@pytest.mark.parametrize("by", ["cell", "image", "well", "leave-one-image-out", "leave-one-plate-out"])
def test_every_cell_is_tested_once_and_groups_never_cross(by: str) -> None:
    known = cells()
    found = splits(known, by)
    assert sorted(np.concatenate([fold.test for fold in found])) == list(range(600))
    group = known.groups.get(by.removeprefix("leave-one-").removesuffix("-out"))
    for fold in found:
        assert not set(fold.train) & set(fold.test)
        assert len(fold.train) + len(fold.test) == 600
        if group is not None:
            assert not set(group[fold.train]) & set(group[fold.test])
    assert len(found) == {"leave-one-image-out": 60, "leave-one-plate-out": 5}.get(by, 7)


def test_classes_spread_as_evenly_as_scikit_learn_spreads_them() -> None:
    known = cells()

    def uneven(tests: list) -> float:
        return float(np.mean([np.bincount(known.label[one], minlength=4).std() for one in tests]))

    theirs = StratifiedGroupKFold(7).split(known.label, known.label, known.groups["image"])
    assert uneven([fold.test for fold in splits(known, "image")]) <= 1.2 * uneven([test for _, test in theirs])


def test_the_seed_decides() -> None:
    known = cells()
    one, same, other = (splits(known, "image", seed=seed)[0].test for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_folds_inside_a_training_set_keep_groups_apart() -> None:
    known = cells()
    for fold in inner_folds(known, "well", 3, 0):
        assert not set(known.groups["well"][fold.train]) & set(known.groups["well"][fold.test])


def test_too_few_groups_or_unknown_ways_are_named() -> None:
    with pytest.raises(RecipeError, match="no donor"):
        splits(cells(), "donor")
    with pytest.raises(RecipeError, match="do not make"):
        splits(cells(), "plate", folds=7)
    with pytest.raises(RecipeError, match="folds of"):
        splits(cells(), "cell", folds=1)
