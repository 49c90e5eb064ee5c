"""The engine: a recipe becomes a plan, a plan becomes parts, inside a disk budget, whatever happens in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phenostream.lazy import on_first_use

if TYPE_CHECKING:
    from phenostream.stream.executor import Inline, Processes
    from phenostream.stream.forecast import Estimate, estimate
    from phenostream.stream.overview import Failure, Status, failures, status
    from phenostream.stream.plan import make_plan
    from phenostream.stream.recipe import Recipe, schema
    from phenostream.stream.record import Progress
    from phenostream.stream.start import RunResult, default_folder, run

__all__ = [
    "Estimate",
    "Failure",
    "Inline",
    "Processes",
    "Progress",
    "Recipe",
    "RunResult",
    "Status",
    "default_folder",
    "estimate",
    "failures",
    "make_plan",
    "run",
    "schema",
    "status",
]

# Looked up on first use: `status` needs a ledger, not the libraries that compute.
__getattr__ = on_first_use(
    __name__,
    {
        "Estimate": "forecast",
        "Failure": "overview",
        "Inline": "executor",
        "Processes": "executor",
        "Progress": "record",
        "Recipe": "recipe",
        "RunResult": "start",
        "Status": "overview",
        "default_folder": "start",
        "estimate": "forecast",
        "failures": "overview",
        "make_plan": "plan",
        "run": "start",
        "schema": "recipe",
        "status": "overview",
    },
)
