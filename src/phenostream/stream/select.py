"""Which of a catalog's fields are wanted."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from phenostream import values


class Select(BaseModel):
    """Every given key narrows the choice; lists take shell patterns (``LT0001_*``)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    plates: tuple[str, ...] = Field((), description="plates to keep; empty keeps all")
    wells: tuple[str, ...] = Field((), description="wells to keep, as A4; empty keeps all")
    drop_wells: tuple[str, ...] = Field((), description="wells to leave out, A1 say where its light is irregular")
    sites: tuple[str, ...] = Field((), description="sites to keep; empty keeps all")
    frames: tuple[int, ...] = Field((), description="frames to keep, counted from 1; empty keeps all")
    match: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="annotation key to accepted patterns, as Control: ['negative*']"
    )
    limit: int | None = Field(None, ge=1, description="only the first so many")

    def apply(self, fields: Iterable[values.Field]) -> Iterator[values.Field]:
        """The wanted ones of `fields`, in their order."""
        kept = 0
        for field in fields:
            if self.limit is not None and kept >= self.limit:
                return
            if self.wants(field):
                kept += 1
                yield field

    def wants(self, field: values.Field) -> bool:
        """Whether `field` passes every given key but `limit`."""
        name = field.id
        return (
            _any(name.plate, self.plates)
            and _any(name.well, self.wells)
            and not (self.drop_wells and _any(name.well, self.drop_wells))
            and _any(name.site, self.sites)
            and (not self.frames or name.time + 1 in self.frames)
            and all(_any(field.annotation.get(key, ""), patterns) for key, patterns in self.match.items())
        )


def _any(value: str, patterns: tuple[str, ...]) -> bool:
    return not patterns or any(fnmatchcase(value, pattern) for pattern in patterns)
