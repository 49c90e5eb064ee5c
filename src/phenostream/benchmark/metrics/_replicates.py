"""What consistency and magnitude of perturbations share: nulls made of controls, and the form of their classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from phenostream.benchmark.metrics._gathered import Gathered
from phenostream.errors import EmptyError, NotFiniteError, WrongShapeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

# Control perturbations that make a null; with fewer, it is drawn.
_NAMED = 20


@dataclass(frozen=True, slots=True)
class Replicates:
    """A figure of every perturbation's replicates, and what controls give.

    Attributes:
        value: (groups,) NaN with too few replicates.
        p_value: (groups,) ``1 - searchsorted(null, value) / size of the null``: share of the null that reaches it.
        members: (groups,) replicates.
        null: sorted figures of controls.
        named: whether these are control perturbations; otherwise they are sets drawn from the controls.
        mean: of the values that are numbers.
        share: of these, what has a p-value of at most 0.05.
    """

    value: Floats
    p_value: Floats
    members: NDArray[np.int64]
    null: Floats
    named: bool = False

    @property
    def mean(self) -> float:
        """Mean of the values that are numbers; NaN where none is."""
        good = self.value[np.isfinite(self.value)]
        return float(good.mean()) if len(good) else float("nan")

    @property
    def share(self) -> float:
        """Of the values that are numbers, the share with a p-value of at most 0.05; NaN where none is."""
        return self.share_of(self.value)

    def share_of(self, values: Floats) -> float:
        """The same of other values, such as those of a bootstrap sample, against this null."""
        p_value = against(values, self.null, self.members).p_value
        good = p_value[np.isfinite(p_value)]
        return float((good <= 0.05).mean()) if len(good) else float("nan")


class AgainstControls(Gathered):
    """A figure of replicates from batches of profiles."""

    figure: ClassVar[Callable[..., Replicates]]

    def __init__(self, *, draws: int = 1000, rng: int = 0) -> None:
        """Keep what the null is made with."""
        super().__init__()
        self.draws, self.rng = draws, rng

    def update(self, profiles: ArrayLike, groups: ArrayLike, controls: ArrayLike) -> None:
        """Keep one batch."""
        self.keep(profiles, groups, controls)

    def compute(self) -> Replicates:
        """Of all batches."""
        return type(self).figure(*self.joined(), draws=self.draws, rng=self.rng)


def checked(profiles: ArrayLike, groups: ArrayLike, controls: ArrayLike) -> tuple[Floats, NDArray[Any], NDArray[Any]]:
    """Arrays of fitting shapes. Raises WrongShapeError, NotFiniteError, EmptyError."""
    values, code, control = np.asarray(profiles, float), np.asarray(groups), np.asarray(controls, bool)
    if values.ndim != 2 or not len(values) == len(code) == len(control):
        raise WrongShapeError(f"profiles {values.shape}, {len(code)} groups, {len(control)} controls")
    if not np.isfinite(values).all():
        raise NotFiniteError("profiles hold NaN or infinite values", remedy="leave these rows or features out, counted")
    if not control.any():
        raise EmptyError("no profile is a control", remedy="check which rows are controls")
    return values, code, control


def against(values: Floats, null: Floats, members: NDArray[np.int64], *, named: bool = False) -> Replicates:
    """Values with their p-values against a null, of which NaN is left out."""
    ordered = np.sort(null[np.isfinite(null)])
    place = np.searchsorted(ordered, values) / max(len(ordered), 1)
    p_value = np.where(np.isnan(values) | (len(ordered) == 0), np.nan, 1 - place)
    return Replicates(values, p_value, members, ordered, named)


def control_sets(
    code: NDArray[Any], control: NDArray[np.bool_], sizes: NDArray[np.int64], *, draws: int, least: int,
    rng: np.random.Generator,
) -> tuple[list[NDArray[np.intp]], bool]:  # fmt: skip
    """Rows of the sets behind a null: the control perturbations where there are 20 or more, else drawn from controls.

    Drawn sets have the sizes of the groups that are judged. Controls with a code below 0 have no perturbation's name.
    Also whether the sets are control perturbations.
    """
    rows = np.flatnonzero(control)
    named = [rows[code[rows] == one] for one in np.unique(code[rows]) if one >= 0]
    named = [one for one in named if len(one) >= least]
    if len(named) >= _NAMED:
        return named, True
    sizes = np.minimum(sizes[sizes >= least], len(rows))
    if not len(sizes) or len(rows) < least:
        return [], False
    return [rng.choice(rows, size=size, replace=False) for size in rng.choice(sizes, size=draws)], False


def over_groups(figure: Callable[[NDArray[np.intp]], float], sets: list[NDArray[np.intp]]) -> Floats:
    """The figure of each set of rows."""
    return np.array([figure(rows) for rows in sets], float)
