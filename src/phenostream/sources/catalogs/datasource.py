"""Catalog ``datasource``: a registered folder, checked to be what it was, then known by its names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path  # noqa: TC003  (pydantic resolves it at run time)
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from pydantic import ConfigDict
from pydantic import Field as Setting

from phenostream.sources import datasources, layout
from phenostream.values import Field

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phenostream.values import Container, Store


class Settings(layout.Layout):
    """Which datasource, and how its files are named."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    catalog: Literal["datasource"] = "datasource"
    name: str = Setting(description="Under which the folder was registered.", min_length=1)
    home: Path | None = Setting(None, description="Folder of the manifests, instead of the user's own.")
    verify: Literal["content", "full"] = Setting("content", description="How the folder is compared on opening.")


def base(settings: Settings) -> str:
    """See `phenostream.sources.catalogs`. Raises NotFoundError for a name that was never registered."""
    return str(datasources.manifest(settings.name, home=settings.home).folder)


def units(settings: Settings, store: Store) -> Iterator[Field | Container]:
    """See `phenostream.sources.catalogs`. The annotation ``datasource`` is the digest of the content.

    Raises ChangedError before the first unit where the folder is not what was registered.
    """
    known = datasources.open(settings.name, home=settings.home, verify=settings.verify)
    for unit in layout.survey(settings, store, known.files).units:
        if isinstance(unit, Field):
            told = {**unit.annotation, "datasource": known.digest}
            yield replace(unit, annotation=MappingProxyType(told))
        else:
            yield unit
