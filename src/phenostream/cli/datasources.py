"""What the command ``datasource`` does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phenostream.errors import RecipeError
from phenostream.sources import datasources

if TYPE_CHECKING:
    from pathlib import Path

    from phenostream.sources.datasources import Manifest


def act(action: str, name: str | None, folder: Path | None) -> dict[str, Any]:
    """Register a folder under a name, or check that what was registered is still the same, byte by byte."""
    if action == "register" and name and folder:
        return _told(datasources.register(name, folder))
    if action == "check" and name:
        return _told(datasources.open(name, verify="full"))
    raise RecipeError(
        f"cannot {action} that",
        remedy="phenostream datasource register NAME FOLDER, or phenostream datasource check NAME",
    )


def _told(manifest: Manifest) -> dict[str, Any]:
    return {
        "name": manifest.name,
        "folder": str(manifest.folder),
        "files": len(manifest.files),
        "digest": manifest.digest,
    }
