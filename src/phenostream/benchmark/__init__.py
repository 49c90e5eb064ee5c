"""Benchmark: metrics, one file each; statistics; and the protocols that judge phenotypes and profiles with them.

A metric is a module of :mod:`phenostream.benchmark.metrics` with a pure function of its name and a class that takes
batches (``update``) and tells the value (``compute``). Protocols put metrics and statistics together for one question:
:mod:`.phenotyping` for classifiers of cells, :mod:`.activity` and :mod:`.similarity` for profiles of wells.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phenostream.benchmark.mechanisms import leave_compound_out
    from phenostream.benchmark.phenotyping import cross_validate, evaluate
    from phenostream.benchmark.statistics import benjamini_hochberg, bootstrap, permutation_p_value

__all__ = [
    "benjamini_hochberg",
    "bootstrap",
    "cross_validate",
    "evaluate",
    "leave_compound_out",
    "permutation_p_value",
]

_MODULES = {
    "benjamini_hochberg": "statistics",
    "bootstrap": "statistics",
    "cross_validate": "phenotyping",
    "evaluate": "phenotyping",
    "leave_compound_out": "mechanisms",
    "permutation_p_value": "statistics",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"phenostream.benchmark.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'phenostream.benchmark' has no attribute {name!r}")
