"""A map of cells: principal components, or UMAP where it is installed; the same map for the same cells and seed."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from phenostream.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from phenostream.report.survey import Survey

_LEAST_CELLS = 10
_KNOWN_SHARE = 0.95
_CLIP = 8.0
_COMPONENTS = 50
_NEIGHBOURS = 15


@dataclass(frozen=True, slots=True)
class Embedding:
    """Places of the cells and how they were found.

    Attributes:
        points: (n, 2) float32.
        axes: names of the two axes, with their unit or share of variance.
        words: how it was made, a sentence for the page.
        features: names of the features that went in.
    """

    points: NDArray[np.float32]
    axes: tuple[str, str]
    words: str
    features: Sequence[str]


def embed(found: Survey, method: Literal["auto", "pca", "umap"] = "auto", *, seed: int = 0) -> Embedding | None:
    """The map of the cells in ``found.shown``; None where fewer than ten cells or two features can be used.

    Features that are positional, constant, or missing in over 5 % of the cells stay out; the others are centred at
    their median, divided by 1.4826 times their median absolute deviation (their standard deviation where that is 0),
    cut at plus and minus 8, and 0 where missing.

    Raises:
        MissingExtraError: UMAP was asked for and is not installed.
    """
    matrix, names = _matrix(found)
    if len(matrix) < _LEAST_CELLS or len(names) < 2:
        return None
    points, shares = principal(matrix)
    share = [f"{100 * one:.0f} % of the variance" for one in shares[:2]]
    pca = (
        f"Principal component analysis of {len(names):,} features (robust z-scores): the two directions in which they "
        f"differ most, with {100 * shares[0]:.0f} % and {100 * shares[1]:.0f} % of the variance."
    )
    if method == "umap" or (method == "auto" and has_umap()):
        kept = points[:, : min(_COMPONENTS, points.shape[1])]
        return Embedding(
            _umap(kept, seed), ("UMAP 1 (no unit)", "UMAP 2 (no unit)"), _umap_words(names, kept, seed), names
        )
    axes = (f"PC 1 ({share[0]})", f"PC 2 ({share[1]})")
    return Embedding(points[:, :2].astype(np.float32), axes, pca, names)


def has_umap() -> bool:
    """Whether umap-learn is installed (another package of the name ``umap`` would not do)."""
    try:
        metadata.version("umap-learn")
    except metadata.PackageNotFoundError:
        return False
    return True


def principal(matrix: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores (n, k) of the principal components and their shares of the variance, the largest first.

    By decomposition of the centred matrix; the sign of each component is such that its largest loading
    is positive.
    """
    centred = matrix - matrix.mean(axis=0)
    if len(centred) < centred.shape[1]:
        left, values, loadings = np.linalg.svd(centred, full_matrices=False)
        scores, variances = left * values, values**2
    else:  # many cells, few features: the same from the small matrix of their products, in a fraction of the time
        variances, vectors = np.linalg.eigh(centred.T @ centred)
        variances, loadings = np.maximum(variances[::-1], 0), vectors[:, ::-1].T
        scores = centred @ loadings.T
    signs = np.sign(loadings[np.arange(len(loadings)), np.abs(loadings).argmax(axis=1)])
    return scores * np.where(signs == 0, 1, signs), variances / (float(variances.sum()) or 1.0)


def _matrix(found: Survey) -> tuple[NDArray[np.float64], list[str]]:
    wanted = [i for i, one in enumerate(found.columns) if one.role == "feature" and not one.positional]
    values = found.shown.values[:, wanted].astype(np.float64)
    values[~np.isfinite(values)] = np.nan
    known = np.isfinite(values).mean(axis=0) if len(values) else np.zeros(len(wanted))
    full = [place for place, share in enumerate(known) if share >= _KNOWN_SHARE]
    scaled, spread = _scaled(values[:, full])
    kept = np.flatnonzero(spread > 0)
    return scaled[:, kept], [found.columns[wanted[full[place]]].name for place in kept.tolist()]


def _scaled(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if not values.size:
        return values, np.zeros(values.shape[1])
    middle = np.nanmedian(values, axis=0)
    spread = 1.482602218505602 * np.nanmedian(np.abs(values - middle), axis=0)
    spread = np.where(spread > 0, spread, np.nanstd(values, axis=0))
    safe = np.where(spread > 0, spread, 1.0)
    return np.clip(np.nan_to_num((values - middle) / safe), -_CLIP, _CLIP), spread


def _umap(points: NDArray[np.float64], seed: int) -> NDArray[np.float32]:
    if not has_umap():
        raise MissingExtraError.of("umap-learn", "umap")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its dependencies; nothing a reader of the page could act on
        umap = import_module("umap")  # heavy, optional

        made: Any = umap.UMAP(n_neighbors=min(_NEIGHBOURS, len(points) - 1), random_state=seed, n_jobs=1)
        return np.asarray(made.fit_transform(points.astype(np.float32)), np.float32)


def _umap_words(names: Sequence[str], kept: NDArray[np.float64], seed: int) -> str:
    version, near = metadata.version("umap-learn"), min(_NEIGHBOURS, len(kept) - 1)
    return (
        f"UMAP (umap-learn {version}, {near} neighbours, seed {seed}) of the first {kept.shape[1]} principal "
        f"components of {len(names):,} features (robust z-scores). Near means alike; the size of gaps and of clusters "
        "means little."
    )
