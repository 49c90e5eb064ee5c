"""The task plug: what is learnt, from what, and how it is told good from bad. The fit loop knows nothing else.

A task is a module of :mod:`phenostream.training.tasks` (or of the entry-point group ``phenostream.tasks``) with a
frozen pydantic model ``Settings`` and a function ``build(settings) -> Task``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path

    from pydantic import BaseModel
    from torch import Tensor, nn

    from phenostream.inference import Package
    from phenostream.training.devices import Team
    from phenostream.training.order import Order

Example: TypeAlias = "Mapping[str, Any]"
Batch: TypeAlias = "Mapping[str, Tensor]"


@runtime_checkable
class Task(Protocol):
    """One thing to learn. Inherit from it: what has a body is a default.

    Every random choice is drawn from the generator that is handed over, or from torch's global one inside `loss`,
    `stepped` and `validate`, which the loop seeds anew before each step. Then the fit is a pure function of the seed,
    whatever the number of workers and wherever it was killed.
    """

    @property
    def settings(self) -> BaseModel:
        """The task's settings; a fit in the same folder goes on only under equal ones."""
        ...

    @property
    def least(self) -> int:
        """Examples that one process needs for a step: two where a layer takes statistics over examples alone."""
        return 1

    def network(self) -> nn.Module:
        """The network with fresh weights, drawn from torch's global generator."""
        ...

    def __len__(self) -> int:
        """Examples an epoch."""
        ...

    def example(self, index: int, rng: np.random.Generator) -> Example:
        """Example `index` of an epoch, augmented by `rng`: arrays (no batch axis) or numbers by name.

        Called in worker processes; it must neither change the task nor depend on earlier calls. A task that makes its
        `batches` itself has none.
        """
        del index, rng
        raise NotImplementedError(f"{type(self).__name__} gives neither `example` nor `batches`")

    def collate(self, examples: Sequence[Example]) -> Batch:
        """The batch of some examples: each name's arrays stacked along a new first axis."""
        return stack(examples)

    def batches(self, order: Order, steps: range, *, team: Team, workers: int) -> Generator[Batch]:
        """The batches of `steps` that this process of `team` takes; one stream, across epochs.

        By default, the examples that `order` names. A task whose data come with a loader of their own gives that
        loader's batches of `order.batch_size` examples over all processes; then each must be a pure function of
        `order.seed`, its step and the process, wherever the stream begins.
        """
        from phenostream.training.loading import batches  # noqa: PLC0415  (torch)

        return batches(self, order, steps, team=team, workers=workers)

    def loss(self, network: nn.Module, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        """The mean loss of a batch (a scalar), and what else belongs into the log; `network` is in training mode.

        Return detached tensors rather than numbers for the log: reading a number makes a GPU wait.
        """
        ...

    def stepped(self, network: nn.Module, progress: float) -> None:  # noqa: ARG002  (a default)
        """After each step of the optimizer; `progress` runs to 1. For teachers and annealed temperatures.

        Whatever changes here must be a parameter or buffer of the network, so that checkpoints hold it.
        """
        return

    def validate(self, network: nn.Module) -> Mapping[str, float]:  # noqa: ARG002  (a default)
        """Metrics of `network` (in evaluation mode, on its device, gradients off) on examples kept from training."""
        return {}

    def data(self) -> Mapping[str, str]:
        """Name and sha256 of everything that was learnt from, for the provenance."""
        return {}

    def export(
        self, network: nn.Module, folder: Path, *, training: Mapping[str, Any], metrics: Mapping[str, float]
    ) -> Package:
        """Write `network` (in evaluation mode, on the CPU) as a model package into `folder`.

        `training` is the provenance that goes into the package, `metrics` are those of the chosen weights.
        """
        ...


def stack(examples: Sequence[Example]) -> dict[str, Tensor]:
    """Stack examples along a new first axis, name by name. Shapes of one name must agree."""
    import torch  # noqa: PLC0415

    return {
        name: torch.from_numpy(np.stack([np.asarray(example[name]) for example in examples])) for name in examples[0]
    }
