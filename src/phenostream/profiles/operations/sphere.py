"""Sphere: rotate and scale the features so that, on the fitting rows, they are uncorrelated with variance one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from phenostream.errors import RecipeError
from phenostream.profiles.groups import Groups, assign, refuse_unfitted
from phenostream.profiles.operating import FitSettings, Outcome
from phenostream.profiles.projection import Projection, projected, refuse_missing
from phenostream.profiles.statistics import moments, triangle
from phenostream.profiles.tables import feature_names

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from phenostream.profiles.tables import Source

    Floats = NDArray[np.float64]


class Settings(FitSettings):
    """Which whitening, and how it is kept from blowing up noise."""

    method: Literal["ZCA", "PCA", "ZCA-cor", "PCA-cor"] = Field(
        "ZCA-cor", description="ZCA stays closest to the features, PCA gives components; -cor works on correlations"
    )
    epsilon: float = Field(1e-6, ge=0, description="added to the singular values, as pycytominer does")
    shrinkage: float = Field(
        0.0, ge=0, le=1, description="share of the mean variance put in place of each direction's own; above 0 the"
        " features need not be linearly independent"
    )  # fmt: skip


def operate(source: Source, settings: Settings, fitted: pa.Table | None = None) -> Outcome:
    """Whitening as in Kessy, Lewin and Strimmer (2018), fitted by a QR decomposition that streams over the rows.

    Without shrinkage the numbers are those of pycytominer's ``spherize``; the sign of a principal component, which
    nothing determines, is the one that makes its largest weight positive.

    Returns:
        The rows with the features replaced (float64): under their names by ZCA, by ``PC1`` ... with PCA. Fitted: one
        row a feature: ``centre``, ``weights``. Told: ``features``, ``rows`` fitted on, ``rank``.

    Raises:
        RecipeError: missing values, a constant feature, or linearly dependent features without shrinkage.
    """
    if fitted is not None:
        known = Projection.read(fitted)
        return Outcome(projected(source, known), {"features": len(known.names)}, fitted)
    names = feature_names(source.schema(), settings.features)
    refuse_missing(source, names)
    assigned = assign(source, (), settings.controls)
    refuse_unfitted(assigned, 2, drop=False)
    found = moments(source, names, assigned)
    scale = _scale(names, found.variance[0], settings)
    factor = triangle(source, names, assigned.codes >= 0, found.mean[0], scale)
    rows = int(assigned.fitting[0])
    weights, rank = whitening(factor, rows, settings)
    made = [f"PC{place + 1}" for place in range(len(names))] if settings.method.startswith("PCA") else names
    fit = Projection(Groups((), [()]), names, made, found.mean, (weights / scale[:, None])[None])
    return Outcome(
        projected(source, fit), {"features": len(names), "rows": rows, "rank": rank}, fit.table(source.schema())
    )


def whitening(factor: Floats, rows: int, settings: Settings) -> tuple[Floats, int]:
    """The whitening matrix (d, d) of a centred matrix of `rows` rows whose QR factor is `factor`, and its rank.

    Raises RecipeError where the features depend linearly on each other, unless there is shrinkage.
    """
    size = factor.shape[1]
    _, values, right = np.linalg.svd(factor, full_matrices=True)
    rank = int((values > values.max(initial=0) * max(rows, size) * np.finfo(float).eps).sum())
    if not settings.shrinkage and rank < min(size, rows - 1):
        raise RecipeError(
            f"{size} features have rank {rank} on {rows} rows: some are combinations of others",
            remedy="leave them out with `select`, operation correlation, or set `shrinkage`",
        )
    if settings.shrinkage:
        padded = np.concatenate([values, np.zeros(size - len(values))]) ** 2
        values = np.sqrt((1 - settings.shrinkage) * padded + settings.shrinkage * padded.mean())
    elif rows <= size:
        # Directions that no fitting row spans get the smallest spread that was seen.
        values = np.concatenate([values[:rank], np.repeat(values[rank - 1], size - rank)])
    right = right * np.sign(right[np.arange(size), np.abs(right).argmax(axis=1)])[:, None]
    weights = (right / (values + settings.epsilon)[:, None]).T * np.sqrt(rows - 1)
    return (weights @ right if settings.method.startswith("ZCA") else weights), rank


def _scale(names: list[str], variance: Floats, settings: Settings) -> Floats:
    flat = [name for name, one in zip(names, variance, strict=True) if one == 0]
    if flat and (settings.method.endswith("-cor") or not settings.shrinkage):
        raise RecipeError(
            f"{len(flat)} features are constant on the fitting rows, first {flat[0]}",
            remedy="leave them out with `select`, operation variance",
        )
    return np.sqrt(variance) if settings.method.endswith("-cor") else np.ones(len(names))
