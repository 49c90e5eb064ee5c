"""Replicates: whiten the features by how replicates of the same perturbation differ, so that what repeats counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from phenostream.errors import RecipeError
from phenostream.profiles.groups import Groups, assign
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
    """What replicates are, and how strongly small differences are held back."""

    by: Names = Field(min_length=1, description="columns that make rows replicates: (Metadata_Compound, Metadata_Dose)")
    regularisation: float = Field(
        0.3, gt=0, description="added to the variances along all directions, as a multiple of their mean"
    )


def operate(source: Source, settings: Settings, fitted: pa.Table | None = None) -> Outcome:
    """Relevant component analysis (Bar-Hillel, Hertz, Shental and Weinshall, JMLR 6, 2005), regularised.

    The covariance of the deviations from the mean of each group of replicates is noise, batch effects included;
    features are multiplied by its inverse square root. No mechanism or other annotation is looked at.

    Returns:
        The rows with the features replaced (float64), under their names. Fitted: one row a feature. Told: ``features``,
        ``groups`` with two rows or more, ``rows`` in them.

    Raises:
        RecipeError: missing values, or no group with two rows.
    """
    if fitted is not None:
        known = Projection.read(fitted)
        return Outcome(projected(source, known), {"features": len(known.names)}, fitted)
    names = feature_names(source.schema(), settings.features)
    refuse_missing(source, names)
    assigned = assign(source, settings.by, settings.controls)
    many = assigned.fitting >= 2
    if not many.any():
        raise RecipeError(f"no two rows share {', '.join(settings.by)}", remedy="name what replicates share in `by`")
    weights = whitening(_within(source, names, assigned, many), settings.regularisation)
    fit = Projection(Groups((), [()]), names, names, np.zeros((1, len(names))), weights[None])
    told = {"features": len(names), "groups": int(many.sum()), "rows": int(assigned.fitting[many].sum())}
    return Outcome(projected(source, fit), told, fit.table(source.schema()))


def whitening(covariance: Floats, regularisation: float) -> Floats:
    """``(S + r mean(diag S) I)^(-1/2)`` (d, d), symmetric; of all-zero S the identity."""
    values, vectors = np.linalg.eigh(covariance)
    mean = float(np.trace(covariance)) / len(covariance)
    if mean <= 0:
        return np.eye(len(covariance))
    return np.asarray(vectors / np.sqrt(np.maximum(values, 0) + regularisation * mean) @ vectors.T)


def within_covariance(values: Floats, codes: NDArray[np.int64]) -> Floats:
    """Covariance (d, d) of the rows' deviations from the mean of their group; groups of one say nothing."""
    counts = np.bincount(codes)
    means = np.zeros((len(counts), values.shape[1]))
    np.add.at(means, codes, values)
    apart = values - (means / np.maximum(counts, 1)[:, None])[codes]
    rows = counts[codes] > 1
    return np.asarray(apart[rows].T @ apart[rows] / max(int(rows.sum()), 1))


def _within(source: Source, names: list[str], assigned: Assigned, many: NDArray[np.bool_]) -> Floats:
    means = moments(source, names, assigned).mean
    total, start, rows = np.zeros((len(names), len(names))), 0, 0
    for table in source.tables(names):
        codes = assigned.codes[start : start + table.num_rows]
        start += table.num_rows
        chosen = (codes >= 0) & many[codes]
        apart = matrix(table, names)[chosen] - means[codes[chosen]]
        total += apart.T @ apart
        rows += int(chosen.sum())
    return total / rows
