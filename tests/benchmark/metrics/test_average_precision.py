"""Average precision beside copairs, scikit-learn and counting by hand."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from phenostream.benchmark.metrics.average_precision import (
    AveragePrecision,
    Partners,
    all_average_precisions,
    average_precision,
    mean_average_precision,
    null_average_precision,
)
from phenostream.errors import NotFiniteError, RecipeError, WrongShapeError

WITNESS = json.loads((Path(__file__).parents[1] / "copairs.json").read_text(encoding="utf-8"))


def codes(name: str) -> np.ndarray:
    return np.unique(WITNESS[name], return_inverse=True)[1]


def activity(distance: str):
    control = np.array(WITNESS["drug"]) == "DMSO"
    positives = Partners((codes("drug"),), among=~control)
    negatives = Partners((codes("plate"),), among=control)
    found = average_precision(WITNESS["features"], positives, negatives, similarity=distance, queries=~control)
    return found, np.where(control, -1, codes("drug"))


@pytest.mark.parametrize("distance", ["cosine", "correlation", "euclidean"])
def test_activity_is_that_of_copairs(distance: str) -> None:
    found, groups = activity(distance)
    told = WITNESS["activity"][distance]
    expected = np.array([np.nan if one is None else one for one in told["average_precision"]])
    np.testing.assert_allclose(found.value, expected, rtol=1e-12)
    means = mean_average_precision(found, groups, null_size=200_000)
    names = np.unique(WITNESS["drug"])
    for name, (value, p_value, _) in told["groups"].items():
        place = int(np.flatnonzero(names == name)[0])
        assert means.value[place] == pytest.approx(value, rel=1e-12)
        # Both draw rankings: five standard deviations of either draw's share.
        assert means.p_value[place] == pytest.approx(p_value, abs=5 * np.sqrt(2 * p_value / 200_000) + 1e-5)


@pytest.mark.parametrize("distance", ["cosine", "correlation", "euclidean"])
def test_consistency_is_that_of_copairs(distance: str) -> None:
    treated = np.array(WITNESS["drug"]) != "DMSO"
    drug, target = codes("drug")[treated], codes("target")[treated]
    features = np.array(WITNESS["features"])[treated]
    found = average_precision(features, Partners((target,), (drug,)), Partners((), (target,)), similarity=distance)
    told = WITNESS["consistency"][distance]["average_precision"]
    np.testing.assert_allclose(found.value, told, rtol=1e-12)


# Published example of copairs: plate SQ00014812, six replicates against 24 controls, a million drawn rankings.
@pytest.mark.parametrize(("value", "p_value"), [(0.575629, 0.017256), (0.693806, 0.003478), (0.318066, 0.253676)])
def test_published_p_values_are_those_of_the_complete_null(value: float, p_value: float) -> None:
    null = all_average_precisions(5, 29)
    assert len(null) == 118_755
    share = (null > value).mean()
    assert share == pytest.approx(p_value, abs=4 * np.sqrt(p_value / 1e6))


def test_a_perfect_score_has_the_published_p_value_and_an_honest_one() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([np.tile([1.0, 0.0], (6, 1)), np.tile([0.0, 1.0], (24, 1))]) + 0.01 * rng.random((30, 2))
    replicate, control = np.repeat([0, 1], [6, 24]), np.repeat([False, True], [6, 24])
    found = average_precision(values, Partners((replicate,), among=~control), Partners(among=control), queries=~control)
    means = mean_average_precision(found, np.where(control, -1, 0), null_size=200_000)
    assert means.value[0] == 1
    assert means.p_value[0] == 1 / 200_001
    assert means.exact_p_value[0] == pytest.approx(2 / 118_756)


def test_every_ranking_is_enumerated_once() -> None:
    by_hand = sorted(
        sum((place + 1) / rank for place, rank in enumerate(ranks)) / 3
        for ranks in itertools.combinations(range(1, 9), 3)
    )
    np.testing.assert_allclose(all_average_precisions(3, 8), by_hand, rtol=1e-14)


def test_drawn_rankings_follow_the_complete_null() -> None:
    drawn, complete = null_average_precision(3, 12, size=50_000), all_average_precisions(3, 12)
    assert drawn.mean() == pytest.approx(complete.mean(), abs=5 * complete.std() / np.sqrt(50_000))
    np.testing.assert_allclose(np.quantile(drawn, [0.1, 0.5, 0.9]), np.quantile(complete, [0.1, 0.5, 0.9]), atol=0.02)


def test_it_is_scikit_learns_average_precision_where_nothing_ties() -> None:
    rng = np.random.default_rng(1)
    values, groups = rng.normal(size=(40, 6)), rng.integers(0, 4, 40)
    found = average_precision(values, Partners((groups,)), Partners((), (groups,)))
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    for row in range(40):
        others = np.arange(40) != row
        expected = average_precision_score(groups[others] == groups[row], (unit[others] @ unit[row]))
        assert found.value[row] == pytest.approx(expected, rel=1e-12)


def test_blocks_do_not_change_a_result() -> None:
    rng = np.random.default_rng(2)
    values, groups, plates = rng.normal(size=(90, 5)), rng.integers(0, 20, 90), rng.integers(0, 3, 90)
    rules = Partners((groups,)), Partners((plates,), (groups,))
    whole, small = (average_precision(values, *rules, block_bytes=size) for size in (1 << 26, 1 << 12))
    np.testing.assert_allclose(small.value, whole.value, rtol=1e-12)
    np.testing.assert_array_equal(small.total, whole.total)


def test_what_cannot_be_told_apart_is_no_evidence() -> None:
    values = np.ones((6, 3)) + np.eye(6, 3) * 0
    found = average_precision(
        values, Partners((np.array([0, 0, 1, 1, 2, 2]),)), Partners((), (np.repeat([0, 1, 2], 2),))
    )
    np.testing.assert_allclose(found.value, 1 / 5)


def test_profiles_without_partners_have_no_value() -> None:
    found = average_precision(np.eye(3), Partners((np.arange(3),)), Partners((), (np.arange(3),)))
    assert np.isnan(found.value).all()
    means = mean_average_precision(found, np.arange(3))
    assert np.isnan(means.value).all()
    assert np.isnan(means.p_value).all()
    assert (means.members == 0).all()


def test_the_class_is_the_function_on_all_batches() -> None:
    found, _ = activity("cosine")
    metric = AveragePrecision()
    control = (np.array(WITNESS["drug"]) == "DMSO").astype(int)
    for start in (0, 20):
        stop = 20 if start == 0 else None
        metric.update(WITNESS["features"][start:stop], codes("drug")[start:stop], control[start:stop])
    one = average_precision(
        WITNESS["features"],
        Partners((codes("drug"),), among=control == 0),
        Partners(among=control == 1),
        queries=control == 0,
    )
    np.testing.assert_array_equal(metric.compute().value, one.value)
    assert found.total.max() < one.total.max()


def test_bad_profiles_are_refused() -> None:
    rules = Partners(), Partners()
    with pytest.raises(NotFiniteError, match="NaN"):
        average_precision([[1.0, np.nan]], *rules)
    with pytest.raises(NotFiniteError, match="no direction"):
        average_precision([[1.0, 2.0], [0.0, 0.0]], *rules)
    with pytest.raises(NotFiniteError, match="no direction"):
        average_precision([[1.0, 2.0], [3.0, 3.0]], *rules, similarity="correlation")
    with pytest.raises(WrongShapeError):
        average_precision([1.0, 2.0], *rules)
    with pytest.raises(WrongShapeError, match="codes"):
        average_precision(np.eye(2), Partners((np.zeros(3, int),)), Partners())
    with pytest.raises(RecipeError, match="similarity"):
        average_precision(np.eye(2), *rules, similarity="manhattan")
    with pytest.raises(RecipeError):
        null_average_precision(0, 5)


def test_copairs_itself_says_the_same() -> None:
    copairs = pytest.importorskip("copairs.map")
    import pandas as pd

    meta = pd.DataFrame({name: WITNESS[name] for name in ("plate", "drug", "target")})
    theirs = copairs.average_precision(
        meta, np.array(WITNESS["features"]), ["drug"], [], [], ["drug"], progress_bar=False
    )
    ours = average_precision(WITNESS["features"], Partners((codes("drug"),)), Partners((), (codes("drug"),)))
    np.testing.assert_allclose(ours.value, theirs["average_precision"], rtol=1e-12)


def by_counting(values: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> float:
    """Of one profile, from its exact similarities to all others."""
    better = [(negative >= one).sum() + (positive >= one).sum() for one in positive]
    return float(np.mean([(positive >= one).sum() / rank for one, rank in zip(positive, better, strict=True)]))


@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
@pytest.mark.parametrize("groups", [2, 40])
def test_single_precision_and_many_positives_rank_as_exact_sums_do(similarity: str, groups: int) -> None:
    """Similarities that differ by less than single precision tells apart, and groups of hundreds."""
    rng = np.random.default_rng(3)
    values = np.ones(12) + 1e-5 * rng.normal(size=(400, 12))
    codes = rng.integers(0, groups, 400)
    found = average_precision(values, Partners((codes,)), Partners((), (codes,)), similarity=similarity)
    exact = values.astype(np.longdouble)
    for row in range(0, 400, 37):
        if similarity == "cosine":
            near = (exact @ exact[row]) / np.linalg.norm(exact, axis=1)
        else:
            near = -((exact - exact[row]) ** 2).sum(axis=1)
        same = codes == codes[row]
        expected = by_counting(exact, near[same & (np.arange(400) != row)], near[~same])
        # Double precision itself rounds at 1e-16 of similarities that differ by 1e-10: a rank may move by one.
        assert found.value[row] == pytest.approx(expected, rel=2e-3 if similarity == "cosine" else 1e-9)


def test_equal_profiles_tie_in_any_block() -> None:
    rng = np.random.default_rng(4)
    values = np.repeat(rng.normal(size=(50, 7)), 4, axis=0)
    drug = np.arange(200) // 2
    rules = Partners((drug,)), Partners((), (drug,))
    for size in (1 << 26, 1 << 13):
        # Each profile stands four times, as two drugs: its replicate ties with both of the other drug.
        np.testing.assert_array_equal(average_precision(values, *rules, block_bytes=size).value, 1 / 3)


def test_nulls_of_long_rankings_cost_no_more_than_their_positives() -> None:
    drawn = null_average_precision(2, 10_000_000, size=20_000)
    assert 0 < drawn.mean() < 1e-4
    whole = null_average_precision(7, 7, size=10)
    np.testing.assert_array_equal(whole, 1.0)
