"""The map of cells against scikit-learn, and twice the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.decomposition import PCA

from phenostream.errors import MissingExtraError
from phenostream.report import embedding as room
from phenostream.report.embedding import embed, principal
from phenostream.values import Column


@dataclass
class Shown:
    values: np.ndarray


@dataclass
class Found:
    columns: list
    shown: Shown


def found(values):
    return Found([Column(f"F{at}") for at in range(values.shape[1])], Shown(values.astype(np.float32)))


@pytest.mark.parametrize("shape", [(200, 12), (12, 40)])
def test_components_are_those_of_scikit_learn(shape):
    values = np.random.default_rng(0).normal(size=shape) @ np.diag(np.linspace(3, 0.5, shape[1]))
    points, shares = principal(values)
    reference = PCA(svd_solver="full").fit(values)
    expected = reference.transform(values)
    for at in range(5):
        sign = np.sign(points[:, at] @ expected[:, at])
        np.testing.assert_allclose(sign * points[:, at], expected[:, at], atol=1e-8)
    np.testing.assert_allclose(shares[:5], reference.explained_variance_ratio_[:5], rtol=1e-8)


def test_what_cannot_be_used_stays_out():
    values = np.random.default_rng(0).normal(size=(100, 6))
    values[:, 1] = 7
    values[:50, 2] = np.nan
    values[0, 3] = np.nan
    told = found(values)
    told.columns[4] = Column("F4", positional=True)
    told.columns[5] = Column("F5", role="qc")
    made = embed(told, "pca")
    assert list(made.features) == ["F0", "F3"]
    assert np.isfinite(made.points).all()
    assert "2 features" in made.words
    assert made.axes[0].startswith("PC 1 (")


def test_too_little_for_a_map():
    assert embed(found(np.ones((50, 4))), "pca") is None
    assert embed(found(np.random.default_rng(0).normal(size=(5, 4))), "pca") is None


def test_umap_that_is_not_there(monkeypatch):
    monkeypatch.setattr(room, "has_umap", lambda: False)
    told = found(np.random.default_rng(0).normal(size=(60, 5)))
    assert embed(told, "auto").axes[0].startswith("PC 1")
    with pytest.raises(MissingExtraError, match="umap-learn"):
        embed(told, "umap")


@pytest.mark.slow
@pytest.mark.skipif(not room.has_umap(), reason="umap-learn is not installed")
def test_umap_keeps_clusters_apart_and_repeats_itself():
    rng = np.random.default_rng(0)
    values = np.vstack([rng.normal(0, 1, (60, 8)), rng.normal(25, 1, (60, 8))])
    first, again = (embed(found(values), "umap", seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.points, again.points)
    between = np.linalg.norm(first.points[:60].mean(axis=0) - first.points[60:].mean(axis=0))
    assert between > 2 * first.points[:60].std()
    assert "UMAP" in first.words
