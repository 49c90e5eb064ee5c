"""TVN: what typical variation looks like is learned on negative controls, and taken out, batch by batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from phenostream.errors import OverBudgetError, RecipeError
from phenostream.profiles.groups import assign, refuse_unfitted
from phenostream.profiles.operating import FitSettings, Names, Outcome
from phenostream.profiles.projection import Projection, projected, refuse_missing
from phenostream.profiles.statistics import matrix, moments
from phenostream.profiles.tables import feature_names

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from phenostream.profiles.groups import Assigned
    from phenostream.profiles.tables import Source

    Floats = NDArray[np.float64]


class Settings(FitSettings):
    """What a batch is, and how strongly covariances are held back."""

    by: Names = Field((), description="columns whose groups are batches (Metadata_Plate)")
    align: Literal["whiten", "coral"] = Field(
        "whiten",
        description="whiten: take the covariance of a batch's controls out of it (EFAAR); coral: their mean and spread,"
        " too, and give all batches the covariance of the whole: for batches that lie apart",
    )
    components: int = Field(0, ge=0, description="principal components kept; 0: all that controls span")
    regularisation: float = Field(0.5, gt=0, description="added to the diagonal of the covariances that are aligned")
    least: int = Field(2, ge=2, description="control rows a batch must have")


def operate(source: Source, settings: Settings, fitted: pa.Table | None = None) -> Outcome:
    """Typical variation normalisation (Ando, McLean and Berndl 2017), in either of the forms that are in use.

    On the controls of all batches: features are standardised, turned into principal components, and these
    standardised. Then, with ``whiten`` (EFAAR benchmarks; Celik et al. 2024, PLoS Computational Biology 20:e1012463),
    the components of each batch are multiplied by ``(C + regularisation I)^(-1/2)``, where C is the covariance (over
    n - 1) of the batch's controls; batches stay where they lie. With ``coral`` (Sun, Feng and Saenko 2016) they are
    first standardised on the batch's own controls, and afterwards multiplied by ``(D + regularisation I)^(1/2)``, D
    the covariance of all controls.

    Components in which controls do not vary are left out: they have no scale.

    Returns:
        The rows with the features replaced by components ``PC1`` ... (float64). Fitted: one row a batch and feature.

    Raises:
        RecipeError: no controls named, a batch without enough of them, missing values or a constant feature.
        OverBudgetError: the batches' covariances do not fit into `memory`.
    """
    if fitted is not None:
        known = Projection.read(fitted)
        return Outcome(projected(source, known), {"batches": len(known.groups.keys)}, fitted)
    if not settings.controls:
        raise RecipeError("tvn has no controls to learn from", remedy="set `controls: {Metadata_Control: negative}`")
    names = feature_names(source.schema(), settings.features)
    refuse_missing(source, names)
    assigned = assign(source, settings.by, settings.controls)
    refuse_unfitted(assigned, settings.least, drop=False)
    fit = _fit(source, names, assigned, settings)
    told = {"batches": len(assigned.groups.keys), "features": len(names), "components": len(fit.made)}
    return Outcome(projected(source, fit), told, fit.table(source.schema()))


def _fit(source: Source, names: list[str], assigned: Assigned, settings: Settings) -> Projection:
    found = moments(source, names, assigned)
    counts = assigned.fitting.astype(float)
    mean = counts @ found.mean / counts.sum()
    within = _covariances(source, names, assigned, found.mean, settings.memory)
    between = [np.outer(away, away) for away in found.mean - mean]
    total = np.einsum("b,bij->ij", counts, within + np.array(between)) / counts.sum()
    rotation = _rotation(names, total, settings.components)
    made = [f"PC{place + 1}" for place in range(rotation.shape[1])]
    turned = rotation.T @ within @ rotation
    if settings.align == "coral":
        weights = _aligned(rotation, turned, counts, settings.regularisation)
        return Projection(assigned.groups, names, made, found.mean, weights)
    ridge = settings.regularisation * np.eye(len(made))
    unbiased = turned * (counts / (counts - 1))[:, None, None]
    weights = np.array([rotation @ _power(one + ridge, -0.5) for one in unbiased])
    return Projection(assigned.groups, names, made, np.tile(mean, (len(counts), 1)), weights)


def _aligned(rotation: Floats, turned: Floats, counts: Floats, regularisation: float) -> Floats:
    """Weights (batches, d, k) that standardise each batch and give it the covariance of all."""
    standard = [_standardised(one) for one in turned]
    ridge = regularisation * np.eye(rotation.shape[1])
    # Standardised by batch, every batch has mean zero: the covariance of all is the weighted mean of theirs.
    whole = np.einsum("b,bij->ij", counts, np.array([one for one, _ in standard])) / counts.sum()
    target = _power(whole + ridge, 0.5)
    return np.array([(rotation / spread) @ _power(one + ridge, -0.5) @ target for one, spread in standard])


def _covariances(source: Source, names: list[str], assigned: Assigned, means: Floats, memory: int) -> Floats:
    batches, size = means.shape
    if (needed := 8 * batches * size * size) > memory:
        raise OverBudgetError(
            f"the covariances of {batches} batches of {size} features take {needed >> 20:,} MiB",
            remedy="select features first, name larger batches, or raise `memory`",
        )
    sums = np.zeros((batches, size, size))
    start = 0
    for table in source.tables(names):
        codes = assigned.codes[start : start + table.num_rows]
        start += table.num_rows
        values = matrix(table, names)
        for code in np.unique(codes[codes >= 0]):
            away = values[codes == code] - means[code]
            sums[code] += away.T @ away
    return sums / assigned.fitting[:, None, None]


def _rotation(names: list[str], total: Floats, components: int) -> Floats:
    spread = np.sqrt(np.diag(total))
    if flat := [name for name, one in zip(names, spread, strict=True) if one == 0]:
        raise RecipeError(
            f"{len(flat)} features are constant on the controls, first {flat[0]}", remedy="`select` with variance first"
        )
    values, vectors = np.linalg.eigh(total / np.outer(spread, spread))
    keep = np.flatnonzero(values > values.max() * len(names) * np.finfo(float).eps)[::-1]
    keep = keep[:components] if components else keep
    vectors = vectors[:, keep] * np.sign(vectors[np.abs(vectors[:, keep]).argmax(axis=0), keep])
    return np.asarray(vectors / np.sqrt(values[keep]) / spread[:, None])


def _standardised(covariance: Floats) -> tuple[Floats, Floats]:
    spread = np.sqrt(np.maximum(np.diag(covariance), np.finfo(float).tiny))
    # A direction in which a batch's controls do not vary is left as it is.
    spread = np.where(spread < 1e-12, 1.0, spread)
    return covariance / np.outer(spread, spread), spread


def _power(matrix_: Floats, exponent: float) -> Floats:
    values, vectors = np.linalg.eigh(matrix_)
    return np.asarray((vectors * values**exponent) @ vectors.T)
