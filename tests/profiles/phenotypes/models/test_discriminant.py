"""Shrunken discriminant analysis beside scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import multivariate_normal
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from phenostream.profiles.phenotypes.models import discriminant
from phenostream.profiles.phenotypes.scaling import fit_scaling, scale


def cells() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    label = rng.choice(3, 150, p=[0.6, 0.3, 0.1])
    return rng.normal(size=(3, 40))[label] + rng.normal(size=(150, 40)) @ rng.normal(size=(40, 40)), label


@pytest.mark.parametrize("scaling", ["standard", "rank"])
@pytest.mark.parametrize("balanced", [False, True])
def test_probabilities_are_those_of_bayes_rule_with_one_gaussian_a_class(scaling: str, balanced: bool) -> None:
    values, label = cells()
    settings = discriminant.Settings(shrinkage=(0.05, 0.3), scaling=scaling, balanced=balanced)
    scaled = scale(values, fit_scaling(values, scaling))
    means = np.stack([scaled[label == one].mean(axis=0) for one in range(3)])
    covariance = np.cov((scaled - means[label]).T, bias=True)
    prior = np.full(3, 1 / 3) if balanced else np.bincount(label) / len(label)
    for shrinkage, arrays in zip(settings.shrinkage, discriminant.path(values, label, 3, settings), strict=True):
        shrunk = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / 40 * np.eye(40)
        joint = [np.log(prior[one]) + multivariate_normal(means[one], shrunk).logpdf(scaled) for one in range(3)]
        ours = softmax(discriminant.decide(values, arrays), axis=1)
        np.testing.assert_allclose(ours, softmax(np.stack(joint, axis=1), axis=1), atol=1e-9)


def test_calls_are_those_of_scikit_learn() -> None:
    values, label = cells()
    settings = discriminant.Settings(shrinkage=(1e-9,), scaling="standard")
    theirs = LinearDiscriminantAnalysis(solver="svd").fit(values, label)
    ours = discriminant.decide(values, discriminant.path(values, label, 3, settings)[0]).argmax(axis=1)
    assert (ours == theirs.predict(values)).mean() > 0.99


def test_a_class_without_cells_is_never_called_and_constants_do_no_harm() -> None:
    values, label = cells()
    values[:, 0] = 3.0
    found = discriminant.path(values, label, 4, discriminant.Settings(shrinkage=(0.1,)))[0]
    decisions = discriminant.decide(values, found)
    assert np.isfinite(decisions).all()
    assert decisions.argmax(axis=1).max() == 2
