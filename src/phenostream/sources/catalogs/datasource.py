"""Catalog ``datasource``: a registered folder, checked to be what it was, then known by its names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path  # noqa: TC003  (pydantic resolves it at run time)
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from pydantic import ConfigDict
from pydantic import Field as Setting

from phenostream.sources import datasources, layout, repeats
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
    """See `phenostream.sources.catalogs`. Raises as `survey` does, and RecipeError: two files for one channel."""
    found = survey(settings, store)
    repeats.refuse(found.duplicates, remedy=layout.TWICE)
    yield from found.units


def survey(settings: Settings, store: Store) -> layout.Survey:
    """Units, and what was not understood. The annotation ``datasource`` of fields is the digest of the content.

    Raises ChangedError where the folder is not what was registered, and as `phenostream.sources.layout.survey` does.
    """
    known = datasources.open(settings.name, home=settings.home, verify=settings.verify)
    found = layout.survey(settings, store, known.files)
    return replace(found, units=tuple(_marked(unit, known.digest) for unit in found.units))


def _marked(unit: Field | Container, digest: str) -> Field | Container:
    if not isinstance(unit, Field):
        return unit
    return replace(unit, annotation=MappingProxyType({**unit.annotation, "datasource": digest}))
