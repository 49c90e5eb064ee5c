"""The engine: a recipe becomes a plan, a plan becomes parts, inside a disk budget, whatever happens in between."""

from __future__ import annotations

from phenostream.stream.executor import Inline, Processes
from phenostream.stream.plan import make_plan
from phenostream.stream.recipe import Recipe, schema
from phenostream.stream.record import Progress
from phenostream.stream.run import RunResult, default_folder, run
from phenostream.stream.status import Failure, Status, failures, status

__all__ = [
    "Failure",
    "Inline",
    "Processes",
    "Progress",
    "Recipe",
    "RunResult",
    "Status",
    "default_folder",
    "failures",
    "make_plan",
    "run",
    "schema",
    "status",
]
