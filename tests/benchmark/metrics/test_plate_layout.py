"""What layouts tell, against brute force over all arrangements."""

from itertools import permutations

import numpy as np
import pytest

from phenostream.benchmark.metrics.plate_layout import Assigned, assigned, plate_groups, restricted
from phenostream.errors import WrongShapeError


def test_groups_are_the_classes_that_share_plates() -> None:
    labels = [0, 1, 2, 3, 0, 1, 4, 4, -1]
    plates = ["a", "a", "b", "b", "c", "c", "d", "e", "a"]
    assert plate_groups(labels, plates, classes=6).tolist() == [0, 0, 1, 1, 2, -1]


def test_a_chain_of_plates_makes_one_group() -> None:
    assert plate_groups([0, 1, 1, 2], ["a", "a", "b", "b"], classes=3).tolist() == [0, 0, 0]


def test_plates_are_matched_with_groups_as_a_search_over_all_matchings_finds() -> None:
    rng = np.random.default_rng(0)
    groups = np.array([0, 0, 1, 1, 2, 2])
    for _ in range(30):
        logs = np.log(rng.dirichlet(np.full(6, 0.7), size=9))
        plates = np.repeat(["p", "q", "r"], 3)
        inside = np.stack([np.log(np.exp(logs[:, groups == g]).sum(1)) for g in range(3)], 1)
        total = np.stack([inside[plates == name].sum(0) for name in "pqr"])
        best = max(permutations(range(3)), key=lambda order: sum(total[k, g] for k, g in enumerate(order)))
        found = restricted(logs, plates, np.full(9, "e"), groups)
        for k, name in enumerate("pqr"):
            kept = np.isfinite(found[plates == name]).all(0)
            assert kept.tolist() == (groups == best[k]).tolist()
        assert (found[np.isfinite(found)] == logs[np.isfinite(found)]).all()


def test_more_plates_than_groups_take_their_best() -> None:
    logs = np.log([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    found = restricted(logs, ["a", "b", "c"], ["e"] * 3, [0, 1])
    assert np.isfinite(found).tolist() == [[True, False], [True, False], [False, True]]


def test_assignment_is_the_best_of_all_permutations() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        logs = rng.normal(size=(4, 5))
        best = max(permutations(range(5), 4), key=lambda order: logs[range(4), order].sum())
        assert assigned(logs, ["e"] * 4).argmax(1).tolist() == list(best)


def test_capacity_lets_a_class_be_taken_so_often() -> None:
    logs = np.log([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
    found = assigned(logs, ["e"] * 3, capacity=2)
    assert found.sum(0).tolist() == [2, 1]
    assert found[2].tolist() == [0, 1]
    with pytest.raises(WrongShapeError, match="3 wells share 2 classes"):
        assigned(logs, ["e"] * 3)


def test_experiments_do_not_compete() -> None:
    whole = Assigned()
    whole.update([[1.0, 0.0]], ["a"])
    whole.update([[1.0, 0.0]], ["b"])
    assert whole.compute().tolist() == [[1, 0], [1, 0]]


def test_shapes_are_checked() -> None:
    with pytest.raises(WrongShapeError):
        restricted(np.zeros((2, 3)), ["a"], ["e", "e"], [0, 0, 0])
    with pytest.raises(WrongShapeError):
        assigned(np.zeros((2, 3)), ["e"])
