"""Catalog ``folder``: images in a folder or below an S3 prefix, known by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import ConfigDict
from pydantic import Field as Setting

from phenostream.sources import layout, repeats

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phenostream.values import Container, Field, Store


class Settings(layout.Layout):
    """Where the files are, and how they are named."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    catalog: Literal["folder"] = "folder"
    base: str = Setting(description="A folder, or an s3:// URL.", min_length=1)


def base(settings: Settings) -> str:
    """See `phenostream.sources.catalogs`."""
    return settings.base


def units(settings: Settings, store: Store) -> Iterator[Field | Container]:
    """See `phenostream.sources.catalogs`. Raises as `survey` does, and RecipeError: two files for one channel."""
    found = survey(settings, store)
    repeats.refuse(found.duplicates, remedy=layout.TWICE)
    return iter(found.units)


def survey(settings: Settings, store: Store) -> layout.Survey:
    """Units, and what was not understood. Raises RecipeError, NotFoundError as `phenostream.sources.layout.survey`."""
    return layout.survey(settings, store, store.keys())
