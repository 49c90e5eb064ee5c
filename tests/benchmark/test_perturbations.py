"""Scores of made-up wells: figures that some draws of the bootstrap do not define, and intervals of shares."""

from __future__ import annotations

import numpy as np
import pytest

from phenostream.benchmark.perturbations import How, Wells, embedding_scores
from phenostream.benchmark.statistics import bootstrap


def halves() -> tuple[np.ndarray, Wells]:
    """24 perturbations, half of them in two experiments and half in two others, with controls in all."""
    rng = np.random.default_rng(3)
    label = np.concatenate([np.tile(np.arange(12), 2), np.tile(np.arange(12, 24), 2), np.full(40, -1)])
    batch = np.concatenate([np.repeat(np.arange(4), 12), np.tile(np.arange(4), 10)])
    values = np.concatenate([np.repeat(rng.normal(size=(12, 6)), 2, axis=0), np.zeros((1, 6))])[label]
    values += 0.5 * rng.normal(size=values.shape)
    entity = np.array([f"G{one}" if one >= 0 else "" for one in label])
    return values, Wells(label, batch, label < 0, entity, np.full(len(label), -1))


PAIRS = [(f"G{one}", f"G{one + 1}") for one in range(0, 24, 2)]


def test_a_draw_of_too_few_entities_does_not_take_the_recall_away() -> None:
    values, wells = halves()
    sure = embedding_scores(values, wells, How(60, 100, 0, PAIRS))["relationship_recall"]
    plain = embedding_scores(values, wells, How(0, 100, 0, PAIRS))["relationship_recall"]
    assert sure["pairs"] == plain["pairs"] == 12
    for ends in ("recall_0.05_0.95", "recall_0.1_0.9"):
        assert sure[ends]["value"] == plain[ends]["value"] > 0.2
        assert sure[ends]["low"] <= sure[ends]["value"] <= sure[ends]["high"]
        assert plain[ends]["low"] is None


def test_a_map_of_too_few_entities_keeps_its_reason() -> None:
    values, wells = halves()
    few = wells.label < 12
    told = embedding_scores(values[few], wells.take(few), How(20, 100, 0, PAIRS))
    assert told["relationship_recall"]["reason"].startswith("a map of 12 entities")


@pytest.mark.parametrize(
    ("name", "figure"),
    [
        ("activity", "active_share"),
        ("consistency", "significant_share"),
        ("magnitude", "significant_share"),
        ("other_batch_neighbour", "same_batch"),
    ],
)
def test_shares_have_intervals_too(name: str, figure: str) -> None:
    values, wells = halves()
    values *= np.where(wells.label % 2 == 0, 1, 0.1)[:, None]
    # Six replicates a perturbation, for the energy distance.
    many = Wells(*(np.concatenate([getattr(wells, one)] * 3) for one in Wells.__slots__))
    values = np.concatenate([values] * 3) + 0.5 * np.random.default_rng(1).normal(size=(264, 6))
    sure, plain = (embedding_scores(values, many, How(draws, 100, 0))[name][figure] for draws in (200, 0))
    assert sure["value"] == plain["value"]
    assert 0 <= sure["low"] <= sure["value"] <= sure["high"] <= 1
    assert sure["low"] < sure["high"]
    assert plain["low"] is None


def test_the_neighbour_of_the_own_experiment_is_bootstrapped_by_experiment() -> None:
    values, wells = halves()
    told = embedding_scores(values, wells, How(100, 100, 5))["other_batch_neighbour"]["same_batch"]
    treated = wells.label >= 0
    unit = values[treated] / np.linalg.norm(values[treated], axis=1, keepdims=True)
    near = unit @ unit.T
    np.fill_diagonal(near, -np.inf)
    batch = wells.batch[treated]
    own = (batch[near.argmax(axis=1)] == batch).astype(float)
    expected = bootstrap(lambda at: float(own[at].mean()), batch, draws=100, rng=5)
    assert (told["value"], told["low"], told["high"]) == (expected.value, expected.low, expected.high)
