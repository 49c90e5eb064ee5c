"""Benchmark: metrics, one file each; statistics; and the protocols that judge phenotypes and profiles with them.

A metric is a module of :mod:`phenostream.benchmark.metrics` with a pure function of its name and a class that takes
batches (``update``) and tells the value (``compute``). Protocols put metrics and statistics together for one question:
:mod:`.phenotyping` for classifiers of cells, :mod:`.activity` and :mod:`.similarity` for profiles of wells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from phenostream.lazy import on_first_use

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

__getattr__ = on_first_use(
    __name__,
    {
        "benjamini_hochberg": "statistics",
        "bootstrap": "statistics",
        "cross_validate": "phenotyping",
        "evaluate": "phenotyping",
        "leave_compound_out": "mechanisms",
        "permutation_p_value": "statistics",
    },
)
