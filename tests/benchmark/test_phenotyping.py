"""Cross-validation: what leaks shows, what knows nothing scores nothing, and results have the report's form."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score

from phenostream.benchmark.phenotyping import Predictions, baselines, cross_validate, evaluate
from phenostream.profiles.phenotypes import Labelled
from phenostream.report.phenotypes import read


def cells(leak: float = 0.0, size: int = 6) -> Labelled:
    """Every image holds one class; with `leak`, an image's cells share a fingerprint."""
    rng = np.random.default_rng(0)
    image = np.repeat(np.arange(45), 8)
    label = image % 3
    values = 0.9 * rng.normal(size=(3, size))[label] + leak * rng.normal(size=(45, size))[image]
    values = values + rng.normal(size=(360, size))
    names = {"image": image.astype(str), "well": (image // 3).astype(str)}
    ids = np.arange(360).astype(str)
    return Labelled(values, tuple(map(str, range(size))), ("a", "b", "c"), label, names, ids)


def weighted(known: Labelled, by: str) -> float:
    return evaluate(cross_validate(known, by=by), draws=0, permutations=0)["split"]["weighted_f1"]


def test_splits_by_cell_flatter_what_leaks() -> None:
    known = cells(leak=3.0, size=40)
    assert weighted(known, "cell") > weighted(known, "image") + 0.1


def test_the_figures_are_scikit_learns() -> None:
    known = cells()
    found = cross_validate(known, by="image")
    told = evaluate(found, draws=200, permutations=200)
    expected = f1_score(known.truth, found.called, average="weighted")
    assert told["split"]["weighted_f1"] == pytest.approx(expected)
    assert told["more"]["interval"]["low"] < expected < told["more"]["interval"]["high"]
    assert told["more"]["interval"]["groups"] == 45
    assert told["more"]["p_value"] == pytest.approx(1 / 201)
    assert np.sum(told["split"]["confusion"]) == np.sum(told["split"]["ranks"]) == 360
    assert told["split"]["folds"] == 7


def test_one_image_is_left_out_at_a_time_by_default() -> None:
    known = cells()
    found = cross_validate(known)
    assert (found.by, found.folds, len(found.selected)) == ("leave-one-image-out", 45, 7)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)
    assert weighted(known, "leave-one-image-out") == pytest.approx(weighted(known, "image"), abs=0.08)


def test_a_cell_is_called_by_a_model_that_did_not_see_its_image() -> None:
    known = cells()
    wrong = known.groups["image"] == "4"
    moved = replace(known, label=np.where(wrong, (known.label + 1) % 3, known.label))
    one, other = (cross_validate(each, by="leave-one-image-out") for each in (known, moved))
    np.testing.assert_allclose(one.probabilities[wrong], other.probabilities[wrong], atol=1e-12)
    assert not np.allclose(one.probabilities[~wrong], other.probabilities[~wrong])


def test_baselines_know_nothing() -> None:
    known = cells()
    # Images hold one class each, so a single draw is uneven.
    found = [baselines(known, by="image", seed=seed) for seed in range(8)]
    for name in ("most frequent class", "shuffled labels", "shuffled features"):
        assert np.mean([one[name] for one in found]) < 0.40
    assert weighted(known, "image") > 0.7


def test_a_class_that_a_training_set_lacks_is_counted() -> None:
    known = cells()
    lonely = known.groups["image"] == "0"
    rare = replace(known, classes=("a", "b", "c", "d"), label=np.where(lonely, 3, known.label))
    found = cross_validate(rare, by="image")
    assert found.unseen == 8
    told = evaluate(found, draws=0, permutations=0)["split"]["per_class"][3]
    assert (told["f1"], told["cells"]) == (0, 8)


def test_results_have_the_form_of_the_report(tmp_path: Path) -> None:
    split = evaluate(cross_validate(cells(), by="well"), draws=0, permutations=0)["split"]
    told = {"format": "phenostream.phenotypes", "version": 1, "classes": ["a", "b", "c"],
            "models": [{"name": "discriminant", "splits": [split]}]}  # fmt: skip
    (tmp_path / "phenotypes.json").write_text(json.dumps(told, allow_nan=False))
    assert read(tmp_path / "phenotypes.json").models[0].splits[0].cells == 360


def p_value(rng: np.random.Generator, sizes: np.ndarray, by: str, skill: float = 0.0) -> float:
    """Of images of one class each, whose cells are all called alike: rightly in the share `skill`, else blindly."""
    image = np.repeat(np.arange(len(sizes)), sizes)
    label, blind = rng.integers(3, size=(2, len(sizes)))
    called = np.where(rng.random(len(sizes)) < skill, label, blind)[image]
    groups, ids = {"image": image.astype(str)}, np.arange(len(image)).astype(str)
    known = Labelled(np.zeros((len(image), 1)), ("1",), ("a", "b", "c"), label[image], groups, ids)
    told = evaluate(Predictions(known, np.eye(3)[called], by, 7), draws=0, permutations=99)
    return float(told["more"]["p_value"])


@pytest.mark.parametrize("even", [True, False])
def test_a_blind_classifier_is_seldom_significant_though_cells_of_one_image_are_called_alike(even: bool) -> None:
    rng = np.random.default_rng(0)
    sizes = [np.full(30, 20) if even else rng.geometric(0.05, 30) for _ in range(200)]
    found = np.array([p_value(rng, one, "image") for one in sizes])
    # 0.05 is meant, with a standard error of 0.015; by cell, as if each were a witness, it is about a third.
    assert 0.01 <= (found <= 0.05).mean() < 0.10
    assert np.mean([p_value(rng, one, "cell") <= 0.05 for one in sizes[:60]]) > 0.15


def test_a_classifier_that_knows_something_of_images_is_significant() -> None:
    assert p_value(np.random.default_rng(0), np.full(30, 20), "leave-one-image-out", skill=0.7) == 0.01
