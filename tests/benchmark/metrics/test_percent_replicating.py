"""Percent replicating where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from phenostream.benchmark.metrics.percent_replicating import PercentReplicating, percent_replicating
from phenostream.errors import RecipeError, WrongShapeError


def screen(strength: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(60), 4)
    return strength * rng.normal(size=(60, 40))[groups] + rng.normal(size=(240, 40)), groups


def test_noise_replicates_as_often_as_the_quantile_allows() -> None:
    shares = [percent_replicating(*screen(0, seed), rng=seed).share for seed in range(10)]
    assert np.mean(shares) == pytest.approx(0.05, abs=0.03)


def test_strong_effects_all_replicate() -> None:
    assert percent_replicating(*screen(3)).share == 1


def test_the_median_correlation_is_numpys() -> None:
    values, groups = screen(1)
    found = percent_replicating(values, groups)
    near = np.corrcoef(values[:4])[np.triu_indices(4, 1)]
    assert found.similarity[0] == pytest.approx(np.median(near))
    assert found.threshold == pytest.approx(np.quantile(found.null, 0.95))


def test_matching_leaves_pairs_of_one_compound_out() -> None:
    values, compounds = screen(3)
    mechanisms = compounds // 2
    alone = percent_replicating(values, mechanisms).share
    apart = percent_replicating(values, mechanisms, differ=compounds)
    assert alone > 0.4
    assert apart.share < 0.2
    near = np.corrcoef(values[:8])[:4, 4:]
    assert apart.similarity[0] == pytest.approx(np.median(near))


def test_batches_give_the_same() -> None:
    values, groups = screen(1)
    metric = PercentReplicating(rng=0)
    metric.update(values[:100], groups[:100])
    metric.update(values[100:], groups[100:])
    assert metric.compute().share == percent_replicating(values, groups, rng=0).share


def test_what_cannot_be_compared_is_refused() -> None:
    values, groups = screen(1)
    with pytest.raises(RecipeError, match="one group"):
        percent_replicating(values, np.zeros(240))
    with pytest.raises(RecipeError, match="no group"):
        percent_replicating(values, np.arange(240))
    with pytest.raises(WrongShapeError, match="constant"):
        percent_replicating(np.ones((240, 4)), groups)
