"""Recall of relations against its definition, pair by pair, and against what chance must give."""

from itertools import combinations

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from phenostream.benchmark.metrics.relationship_recall import RelationshipRecall, relationship_recall
from phenostream.errors import EmptyError, NotFiniteError, WrongShapeError

RNG = np.random.default_rng(0)
VALUES = RNG.normal(size=(30, 4))
NAMES = [f"g{k}" for k in range(30)]
PAIRS = [(NAMES[i], NAMES[j]) for i, j in RNG.integers(30, size=(60, 2))]


def test_it_is_the_definition_word_by_word() -> None:
    near = cosine_similarity(VALUES)
    null = np.sort([near[i, j] for i, j in combinations(range(30), 2)])
    wanted = {tuple(sorted((NAMES.index(a), NAMES.index(b)))) for a, b in PAIRS if a != b}
    found = relationship_recall(VALUES, NAMES, [*PAIRS, ("g1", "g1"), ("g1", "nobody"), PAIRS[0][::-1]])
    for low, high in ((0.05, 0.95), (0.1, 0.9)):
        hits = [
            np.mean(null <= near[i, j] + 1e-12) <= low or np.mean(null < near[i, j] - 1e-12) >= high for i, j in wanted
        ]
        assert abs(found.recall[low, high] - np.mean(hits)) < 1e-12
    assert (found.pairs, found.all_pairs) == (len(wanted), 435)


def test_all_pairs_give_what_chance_gives() -> None:
    values = RNG.normal(size=(80, 16))
    names = [str(k) for k in range(80)]
    found = relationship_recall(values, names, combinations(names, 2))
    assert abs(found.recall[0.05, 0.95] - 0.1) < 0.002
    assert abs(found.recall[0.1, 0.9] - 0.2) < 0.002


def test_a_map_without_differences_recalls_nothing() -> None:
    names = [str(k) for k in range(25)]
    assert relationship_recall(np.ones((25, 3)), names, [("1", "2")]).recall[0.05, 0.95] == 0.0


def test_related_entities_are_recalled() -> None:
    centres = RNG.normal(size=(20, 8)).repeat(2, axis=0)
    names = [f"{k}" for k in range(40)]
    pairs = [(names[k], names[k + 1]) for k in range(0, 40, 2)]
    values = centres + 0.1 * RNG.normal(size=(40, 8))
    assert relationship_recall(values, names, pairs).recall[0.05, 0.95] == 1.0
    whole = RelationshipRecall(pairs)
    whole.update(values[:7], names[:7])
    whole.update(values[7:], names[7:])
    assert whole.compute() == relationship_recall(values, names, pairs)


def test_bad_input_is_named() -> None:
    with pytest.raises(EmptyError, match="a map of 5 entities"):
        relationship_recall(VALUES[:5], NAMES[:5], PAIRS)
    with pytest.raises(EmptyError, match="no annotated pair is in the map"):
        relationship_recall(VALUES, NAMES, [("a", "b")])
    with pytest.raises(WrongShapeError, match="29 of them different"):
        relationship_recall(VALUES, [*NAMES[:-1], "g0"], PAIRS)
    with pytest.raises(NotFiniteError):
        relationship_recall(VALUES * np.nan, NAMES, PAIRS)
