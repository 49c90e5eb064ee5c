"""How likely each proposal is an object: a few small networks, learnt with the package whose maps they judge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from phenostream.errors import NotFiniteError, WrongShapeError
from phenostream.objects.facts import FACTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

PREFIX = "judge."  # of the tensors among a package's weights
FARTHEST = 4.0  # deviations from the mean beyond which a fact tells no more
LEAST = 0.5  # probability from which a proposal is worth its place


class Judge(NamedTuple):
    """K networks of one hidden layer of H rectified units; the mean of their probabilities counts.

    Attributes:
        middle: (F,), mean of each fact.
        spread: (F,), deviation of each.
        hidden: (K, H, F), weights of the hidden layer.
        hidden_bias: (K, H).
        output: (K, H), weights of the answer.
        output_bias: (K,).
    """

    middle: NDArray[Any]
    spread: NDArray[Any]
    hidden: NDArray[Any]
    hidden_bias: NDArray[Any]
    output: NDArray[Any]
    output_bias: NDArray[Any]

    @classmethod
    def of(cls, weights: Mapping[str, NDArray[Any]]) -> Self | None:
        """The judge among the tensors of a package; None for packages without.

        Raises:
            WrongShapeError: a judge of other facts, or one whose numbers do not fit together.
            NotFiniteError: its numbers are NaN or infinite.
        """
        found = {name.removeprefix(PREFIX): value for name, value in weights.items() if name.startswith(PREFIX)}
        if not found:
            return None
        shapes = {name: value.shape for name, value in found.items()}
        members, units = (*shapes.get("output", ()), 0, 0)[:2]
        if shapes != _shapes(members, units):
            raise WrongShapeError(
                f"the judge of the package does not know the {len(FACTS)} facts of this version: its numbers are"
                f" {', '.join(f'{name} {shape}' for name, shape in shapes.items())}",
                remedy="train the package again with this version",
            )
        if not all(np.isfinite(value).all() for value in found.values()):
            raise NotFiniteError("the judge of the package holds NaN or infinity", remedy="train the package again")
        return cls(**{name: value.astype(np.float64) for name, value in found.items()})

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """The numbers as :meth:`of` takes them."""
        return {PREFIX + name: np.asarray(value, np.float32) for name, value in self._asdict().items()}

    def __call__(self, facts: Floats) -> Floats:
        """Probability (N,) that each of `facts` (N, F) is an object."""
        given = scaled(facts, self.middle, self.spread)
        unit = np.maximum(np.einsum("nf,khf->knh", given, self.hidden, optimize=True) + self.hidden_bias[:, None], 0)
        logit = np.einsum("knh,kh->kn", unit, self.output) + self.output_bias[:, None]
        return np.asarray((1 / (1 + np.exp(-np.clip(logit, -50, 50)))).mean(axis=0), np.float64)


def _shapes(members: int, units: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the numbers of so many networks of so many units each."""
    facts = len(FACTS)
    return {
        "middle": (facts,),
        "spread": (facts,),
        "hidden": (members, units, facts),
        "hidden_bias": (members, units),
        "output": (members, units),
        "output_bias": (members,),
    }


def scaled(facts: Floats, middle: NDArray[Any], spread: NDArray[Any]) -> Floats:
    """`facts` (N, F) in deviations from the mean, none farther than four."""
    return np.asarray(np.clip((facts - middle) / spread, -FARTHEST, FARTHEST), np.float64)
