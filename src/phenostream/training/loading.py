"""Batches, made ahead in worker processes, always in the same order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, Dataset

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from phenostream.training.devices import Team
    from phenostream.training.order import Draw, Order
    from phenostream.training.plug import Batch, Example, Task


class _Examples(Dataset[Any]):
    """The task's examples under the keys that the order gives."""

    def __init__(self, task: Task, order: Order) -> None:
        self.task = task
        self.order = order

    def __getitem__(self, draw: Draw) -> Example:
        return self.task.example(draw.example, self.order.rng(draw))


class _Steps:
    """The draws of some steps, a list a batch: what torch calls a batch sampler."""

    def __init__(self, order: Order, steps: range, team: Team) -> None:
        self.order, self.steps, self.team = order, steps, team

    def __iter__(self) -> Iterator[list[Draw]]:
        return (self.order.batch(step, rank=self.team.rank, world=self.team.world) for step in self.steps)

    def __len__(self) -> int:
        return len(self.steps)


def batches(task: Task, order: Order, steps: range, *, team: Team, workers: int) -> Generator[Batch]:
    """The batches of `steps` that this process of `team` takes; one stream, across epochs."""
    loader: DataLoader[Any] = DataLoader(
        _Examples(task, order),
        batch_sampler=_Steps(order, steps, team),
        num_workers=workers,
        collate_fn=task.collate,
        pin_memory=team.device.type == "cuda",
        # Its own generator: the loader would else draw from the global one, which belongs to the task.
        generator=torch.Generator().manual_seed(0),
    )
    yield from loader


def moved(batch: Batch, device: torch.device, *, channels_last: bool) -> Batch:
    """`batch` on `device`; four-dimensional floating tensors in channels-last order where wanted."""
    return {name: _moved(value, device, channels_last=channels_last) for name, value in batch.items()}


def _moved(value: Any, device: torch.device, *, channels_last: bool) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    image = channels_last and value.ndim == 4 and value.is_floating_point()
    form = torch.channels_last if image else torch.preserve_format
    return value.to(device, non_blocking=True, memory_format=form)
