"""Tasks that are their settings and nothing else."""

from __future__ import annotations

from typing import Generic, TypeVar

from pydantic import BaseModel

from phenostream.training.plug import Task

_Settings = TypeVar("_Settings", bound=BaseModel)


class Configured(Task, Generic[_Settings]):
    """A task made of its settings; what it learns from is read when it is first asked for."""

    def __init__(self, settings: _Settings) -> None:
        """Keep the settings."""
        self._settings = settings

    @property
    def settings(self) -> _Settings:
        """The task's settings."""
        return self._settings
