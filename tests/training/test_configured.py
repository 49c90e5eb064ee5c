"""A task that is made of its settings."""

from __future__ import annotations

from pydantic import BaseModel

from phenostream.training import Task
from phenostream.training.configured import Configured


class Settings(BaseModel):
    examples: int = 3


class Counting(Configured[Settings]):
    def network(self):
        raise NotImplementedError

    def __len__(self) -> int:
        return self.settings.examples

    def loss(self, network, batch):
        raise NotImplementedError

    def example(self, index, rng):
        return {"index": index}

    def export(self, network, folder, *, training, metrics):
        raise NotImplementedError


def test_its_settings_are_those_it_was_made_of():
    told = Settings(examples=7)
    task = Counting(told)
    assert isinstance(task, Task)
    assert task.settings is told
    assert len(task) == 7
