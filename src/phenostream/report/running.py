"""Run a recipe and leave its report behind: what the command ``run`` does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phenostream import stream
from phenostream.report.design import Settings
from phenostream.report.page import write

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from phenostream.stream import Recipe, RunResult


def run(
    recipe: Recipe | Mapping[str, Any] | str | Path,
    out: str | Path | None = None,
    *,
    report: bool = True,
    **options: Any,
) -> RunResult:
    """As :func:`phenostream.stream.run`, with ``report.html`` written into the run folder at the end.

    Args:
        recipe: a YAML file, a mapping, or a Recipe.
        out: the run folder.
        report: whether to write the report; after an interruption none is written, so that stopping stays quick.
        options: those of :func:`phenostream.stream.run`.

    Raises:
        PhenostreamError: as :func:`phenostream.stream.run` and :func:`phenostream.report.write`; when only the report
            cannot be written, the cells are already safe.
    """
    told = stream.run(recipe, out, **options)
    if report and not told.interrupted:
        # A run must not end with half a minute of UMAP that nobody asked for.
        write(told.folder, settings=Settings(embedding="pca"))
    return told
