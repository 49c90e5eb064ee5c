"""The demonstration: a generated plate, served by a web server on this machine, streamed as an archive would be."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from phenostream.report import run
from phenostream.stream import Recipe
from phenostream.synthetic import Archive, RangeServer, demo_archive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from phenostream.stream import Progress, RunResult

_ARCHIVE = "demo-archive"


def demo(out: Path, *, overrides: Iterable[str] = (), progress: Callable[[Progress], None] | None = None) -> RunResult:
    """Stream the embedded plate into the run folder `out`; again after a stop, it goes on where it was."""
    archive = _archive(out / _ARCHIVE)
    with RangeServer(archive.root) as server:
        return run(Recipe.load(_recipe(archive, server.url), overrides), out, progress=progress)


def _archive(folder: Path) -> Archive:
    """The generated archive, made once: a half-made one never gets the final name."""
    if not folder.is_dir():
        making = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(making, ignore_errors=True)
        demo_archive(making)
        making.rename(folder)
    return Archive(folder / "archive", folder / "tables", folder / "truth", "zarr", ("DNA", "GFP"))


def _recipe(archive: Archive, url: str) -> dict[str, Any]:
    return {
        "source": archive.source(url),
        "correct": {"method": "basic", "frames": 16, "darkfield": True},
        "segment": {"model": "classical", "channel": "DNA"},
        "output": {"thumbnail": 512},
        "stream": {"disk_budget": "50MB"},
    }
