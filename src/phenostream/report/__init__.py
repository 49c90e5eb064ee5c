"""Reports: a run or a profile table as one page that a biologist can open, mail and print."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phenostream.report.design import Settings
    from phenostream.report.page import write
    from phenostream.report.phenotypes import Phenotypes
    from phenostream.report.running import run

__all__ = ["Phenotypes", "Settings", "run", "write"]

# Looked up on first use: templates and figures take their time to import.
_MODULES = {"Phenotypes": "phenotypes", "Settings": "design", "run": "running", "write": "page"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"phenostream.report.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'phenostream.report' has no attribute {name!r}")
