"""Reports: a run as one page that a biologist can open, mail and print."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phenostream.report.page import write

__all__ = ["write"]


def __getattr__(name: str) -> Any:
    if name == "write":
        # Looked up on first use: templates and figures take their time to import.
        return import_module("phenostream.report.page").write
    raise AttributeError(f"module 'phenostream.report' has no attribute {name!r}")
