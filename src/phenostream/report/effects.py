"""How far treated cells lie from the controls, feature by feature."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from phenostream.report.survey import Survey
    from phenostream.values import Column

_MOST_GROUPS = 24
_LISTED = 20
_LEAST = 10
_LEAST_SPREAD = 1e-3
#: Makes the median absolute deviation of a normal distribution its standard deviation.
MAD_TO_SIGMA = 1.482602218505602


@dataclass(frozen=True, slots=True)
class Effect:
    """One feature of one group against the controls.

    Attributes:
        size: robust effect size, see `robust_effect`.
        auc: probability that a treated cell has a larger value than a control cell, ties count half.
        median: of the treated cells.
        control_median: of the control cells.
        agree: wells of the group whose mean lies on the same side of the controls' mean well as `size` says.
        wells: wells of the group that have a mean.
    """

    column: Column
    size: float
    auc: float
    median: float
    control_median: float
    agree: int
    wells: int


@dataclass(frozen=True, slots=True)
class Group:
    """The features that differ most in one group of wells, the largest effect first."""

    name: str
    cells: int
    wells: int
    effects: Sequence[Effect]


@dataclass(frozen=True, slots=True)
class Effects:
    """All groups, strongest first, and what they were compared with.

    Attributes:
        flat: features that hardly vary among the controls: they have no effect size.
        small: groups with fewer than 10 sampled cells: not compared.
        sampled: cells looked at.
        left_out: groups beyond the 24 shown.
    """

    groups: Sequence[Group]
    control_cells: int
    control_wells: int
    compared: int
    flat: int
    small: Sequence[str]
    sampled: int
    left_out: int


def robust_effect(treated: NDArray[Any], control: NDArray[Any]) -> NDArray[np.float64]:
    """(median of treated - median of control) / (1.4826 x median absolute deviation of control), column by column.

    The effect in standard deviations of the controls, with medians in place of means so that a few odd cells do not
    decide (Hampel 1974, doi:10.1080/01621459.1974.10482962). NaN are left out. A deviation below a thousandth of the
    standard deviation says that nearly all controls have one value: no effect is told in its units.

    Args:
        treated: (n, columns).
        control: (m, columns).

    Returns:
        (columns,) NaN where the controls do not vary in that sense or a side has no value.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # columns without any value stay NaN
        middle = np.nanmedian(control, axis=0)
        spread = MAD_TO_SIGMA * np.nanmedian(np.abs(control - middle), axis=0)
        least = _LEAST_SPREAD * np.nanstd(control, axis=0)
        shift = np.nanmedian(treated, axis=0) - middle
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(spread > least, shift / spread, np.nan).astype(np.float64)


def superiority(treated: NDArray[Any], control: NDArray[Any]) -> float:
    """Probability that a treated value is larger than a control value, ties count half: the area under the ROC curve.

    From the Mann-Whitney U statistic (Vargha and Delaney 2000, doi:10.3102/10769986025002101). NaN are left out.
    """
    first, second = (values[np.isfinite(values)] for values in (treated, control))
    if not len(first) or not len(second):
        return float("nan")
    ordered = np.sort(second)
    below = np.searchsorted(ordered, first, "left") + np.searchsorted(ordered, first, "right")
    return float(below.sum() / (2 * len(first) * len(second)))


def effects(found: Survey) -> Effects | None:
    """Effects of every group of the design, on the sampled cells; None where there are no controls to compare with."""
    control = found.controls(found.sample)
    usable = [i for i, c in enumerate(found.columns) if c.role == "feature" and not c.positional]
    if control.sum() < _LEAST or not usable or not found.design.group:
        return None
    values = found.sample.values[:, usable].astype(np.float64)
    names = np.array(found.sample.metadata.column(found.design.group).to_pylist(), object)
    sizes: dict[str, NDArray[np.float64]] = {}
    small = []
    for name in sorted(set(names[~control]), key=_natural):
        treated = ~control & (names == name)
        if treated.sum() < _LEAST:
            small.append(str(name))
        else:
            sizes[str(name)] = robust_effect(values[treated], values[control])
    if not sizes:
        return None
    strength = {name: _strength(size) for name, size in sizes.items()}
    shown = sorted(sizes, key=lambda name: -strength[name])[:_MOST_GROUPS]
    groups = [_group(found, name, sizes[name], usable, control, names) for name in shown]
    flat = int(np.isnan(next(iter(sizes.values()))).sum())
    wells = len(np.unique(found.sample.wells[control]))
    left = len(sizes) - len(shown)
    return Effects(groups, int(control.sum()), wells, len(usable), flat, small, len(control), left)


def _group(
    found: Survey,
    name: str,
    sizes: NDArray[np.float64],
    usable: Sequence[int],
    control: NDArray[np.bool_],
    names: NDArray[Any],
) -> Group:
    treated = ~control & (names == name)
    here, there = np.unique(found.sample.wells[treated]), np.unique(found.sample.wells[control])
    made = []
    for place in np.argsort(-np.abs(np.nan_to_num(sizes)), kind="stable")[:_LISTED]:
        if not np.isfinite(sizes[place]) or not sizes[place]:
            continue
        at = usable[int(place)]
        one, other = (found.sample.values[rows, at].astype(np.float64) for rows in (treated, control))
        middle = np.nanmean(found.means[there, at])
        means = found.means[here, at]
        agree = int(((means - middle) * sizes[place] > 0).sum()), int(np.isfinite(means).sum())
        medians = float(np.nanmedian(one)), float(np.nanmedian(other))
        made.append(Effect(found.columns[at], float(sizes[place]), superiority(one, other), *medians, *agree))
    return Group(name or "(none)", int(treated.sum()), len(here), made)


def _strength(sizes: NDArray[np.float64]) -> float:
    """Mean of the ten largest effects: one odd feature does not make a strong group."""
    known = np.sort(np.abs(sizes[np.isfinite(sizes)]))
    return float(known[-10:].mean()) if len(known) else 0.0


def _natural(name: str) -> tuple[int, float, str]:
    try:
        return 0, float(name), name
    except ValueError:
        return 1, 0.0, name
