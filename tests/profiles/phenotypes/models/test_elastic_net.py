"""Elastic-net logistic regression beside scikit-learn's saga."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from phenostream.profiles.phenotypes.models import elastic_net


def cells(count: int = 240) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, count)
    return rng.normal(size=(3, 12))[label] + 1.5 * rng.normal(size=(count, 12)), label


@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("balanced", [False, True])
def test_weights_are_those_of_scikit_learn(ratio: float, balanced: bool) -> None:
    values, label = cells()
    label[label == 2] = np.where(np.arange((label == 2).sum()) % 3 == 0, 2, 0)
    settings = elastic_net.Settings(C=(0.1,), l1_ratio=(ratio,), iterations=5000, tolerance=1e-13, balanced=balanced)
    ours = elastic_net.path(values, label, 3, settings)[0]
    theirs = LogisticRegression(
        C=0.1, l1_ratio=ratio, solver="saga", max_iter=20_000, tol=1e-8, class_weight="balanced" if balanced else None
    ).fit(StandardScaler().fit_transform(values), label)
    np.testing.assert_allclose(ours["weights"], theirs.coef_.T, atol=2e-4)
    np.testing.assert_allclose(
        log_softmax(elastic_net.decide(values, ours), axis=1),
        theirs.predict_log_proba(StandardScaler().fit_transform(values)),
        atol=5e-3,
    )


def test_every_candidate_is_what_it_is_alone() -> None:
    values, label = cells()
    settings = elastic_net.Settings(C=(0.05, 0.5), iterations=4000, tolerance=1e-13)
    both = elastic_net.path(values, label, 3, settings)
    alone = elastic_net.path(values, label, 3, settings, [1])
    assert len(elastic_net.candidates(settings)) == len(both) == 2
    np.testing.assert_allclose(both[1]["weights"], alone[0]["weights"], atol=1e-4)


def test_a_class_without_cells_is_never_called() -> None:
    values, label = cells()
    found = elastic_net.path(values, label, 4, elastic_net.Settings(C=(0.1,)))[0]
    assert elastic_net.decide(values, found).argmax(axis=1).max() == 2


def test_many_alike_features_are_solved_as_well_as_scikit_learn_does() -> None:
    """More features than cells, all of them correlated: the objective is no larger than saga's after many passes."""
    rng = np.random.default_rng(1)
    label = rng.integers(0, 4, 150)
    values = (rng.normal(size=(4, 20))[label] + rng.normal(size=(150, 20))) @ rng.normal(size=(20, 200))
    values += 0.1 * rng.normal(size=values.shape)
    scaled = StandardScaler().fit_transform(values)

    def objective(weights: np.ndarray, bias: np.ndarray) -> float:
        loss = -log_softmax(scaled @ weights + bias, axis=1)[np.arange(150), label].sum()
        return 0.3 * loss + 0.5 * np.abs(weights).sum() + 0.25 * (weights**2).sum()

    ours = elastic_net.path(values, label, 4, elastic_net.Settings(C=(0.3,)))[0]
    theirs = LogisticRegression(C=0.3, l1_ratio=0.5, solver="saga", max_iter=3000, tol=1e-6).fit(scaled, label)
    assert objective(ours["weights"], ours["bias"]) <= 1.0005 * objective(theirs.coef_.T, theirs.intercept_)


@pytest.mark.parametrize("strengths", [(3.0,), (0.01, 0.1, 3.0)])
def test_separable_classes_with_far_outliers_end_at_one_optimum(strengths: tuple[float, ...]) -> None:
    """Steps are long and probabilities round to one where penalties are weak; the objective must fall all the same."""
    rng = np.random.default_rng(2)
    label = rng.integers(0, 5, 200)
    values = 8 * rng.normal(size=(5, 60))[label] + rng.standard_t(1.5, size=(200, 60))
    values[::9] *= 30
    scaled = StandardScaler().fit_transform(values)
    found = elastic_net.path(values, label, 5, elastic_net.Settings(C=strengths, iterations=2000, tolerance=1e-9))[-1]
    logs = log_softmax(scaled @ found["weights"] + found["bias"], axis=1)[np.arange(200), label]
    objective = -3 * logs.sum() + 0.5 * np.abs(found["weights"]).sum() + 0.25 * (found["weights"] ** 2).sum()
    assert (elastic_net.decide(values, found).argmax(axis=1) == label).all()
    # scikit-learn 1.9.1, saga, after 21,199 passes: 148.0372565.
    assert objective == pytest.approx(148.0372565, rel=1e-6)
