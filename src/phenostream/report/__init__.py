"""Reports: a run or a profile table as one page that a biologist can open, mail and print."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phenostream.lazy import on_first_use

if TYPE_CHECKING:
    from phenostream.report.design import Settings
    from phenostream.report.page import write
    from phenostream.report.phenotypes import Phenotypes
    from phenostream.report.running import run

__all__ = ["Phenotypes", "Settings", "run", "write"]

# Looked up on first use: templates and figures take their time to import.
__getattr__ = on_first_use(
    __name__,
    {"Phenotypes": "phenotypes", "Settings": "design", "run": "running", "write": "page"},
)
