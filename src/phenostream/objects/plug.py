"""The segmenter plug: how a segmenter is named, configured, built once and asked.

A segmenter is a module with a frozen pydantic model ``Settings`` (a :class:`SegmenterSettings` whose ``model`` is the
literal name of the module) and a function ``build(settings) -> Segmenter``; where that reads files, also a function
``stamp(settings)``, whose value changes with them. Modules of the folder ``segmenters`` are found by their file name,
those of other packages through the entry point group ``phenostream.segmenters``.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, Self, cast, runtime_checkable

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic import Field as Setting

from phenostream.errors import RecipeError
from phenostream.objects.compartments import CellSettings  # noqa: TC001  (pydantic reads it)
from phenostream.values import recipes
from phenostream.values.plugs import Plugs

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

    from phenostream.values import Field, Objects, Store

GROUP = "phenostream.segmenters"
_PLUGS = Plugs("phenostream.objects.segmenters", GROUP, "segmenter")


class SegmenterSettings(BaseModel):
    """What every segmenter's settings have; a segmenter narrows `model` to its own name.

    Settings are frozen, hashable and picklable: they travel to workers, the models they describe do not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Setting(description="Name of the segmenter.")
    channel: str = Setting("", description="Channel to segment; empty: the first of the field.")
    compartment: str = Setting(
        "Nuclei", pattern=r"^[A-Za-z][A-Za-z0-9]*$", description="What the objects are; the prefix of their columns."
    )
    cells: CellSettings | None = Setting(
        None,
        description="Find the cell and the cytoplasm of each object too; `{}` for the defaults; none if not given.",
    )

    @model_validator(mode="after")
    def cells_are_found_round_other_objects(self) -> Self:
        """The columns of objects called Cells would be those of the cells round them."""
        if self.cells and self.compartment in ("Cells", "Cytoplasm"):
            raise ValueError(f"`cells` are found round nuclei, not round a compartment {self.compartment}")
        return self

    @model_serializer(mode="wrap")
    def only_what_was_asked(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without cells, nothing is said of them: recipes of before keep their identity."""
        told: dict[str, Any] = handler(self)
        if told.get("cells") is None:
            told.pop("cells", None)
        return told


@runtime_checkable
class Segmenter(Protocol):
    """Finds the objects of one field.

    A segmenter whose labels lie beside the pixels may also define ``segment_from(field, store) -> Objects``;
    :func:`run` prefers it where a store is at hand. One that needs more memory than a few planes tells by
    ``memory(shape) -> int``: bytes, at most, for a plane (Y, X) of `shape`.
    """

    @property
    def digest(self) -> str:
        """Name, version and hash of the settings (and of weights): part of every cell id."""
        ...

    def segment(self, field: Field) -> Objects:
        """The objects of `field`: labels (Y, X) int32, consecutive in the raster order of their first pixels."""
        ...


def names() -> tuple[str, ...]:
    """Names of all segmenters, sorted: those of this package and those that others declare."""
    return _PLUGS.names()


def settings(mapping: Mapping[str, Any]) -> SegmenterSettings:
    """The settings that `mapping` describes; its key ``model`` (default ``classical``) names the segmenter.

    Raises:
        RecipeError: an unknown segmenter, an unknown key, or a value that does not fit; every fault is named.
    """
    name = mapping.get("model", "classical")
    model = _PLUGS.load(name).Settings
    try:
        return cast("SegmenterSettings", model.model_validate({**mapping, "model": name}))
    except ValidationError as error:
        known = ", ".join(model.model_fields)
        raise RecipeError(
            f"segment: {recipes.faults(error, whole='settings')}", remedy=f"{name} takes: {known}"
        ) from None


def schema() -> dict[str, Any]:
    """JSON Schemas of all segmenters' settings, by name."""
    return {name: _PLUGS.load(name).Settings.model_json_schema() for name in names()}


def build(settings: BaseModel) -> Segmenter:
    """The segmenter of `settings`; the same object for equal settings, so that models load once a process.

    `settings` are a :class:`SegmenterSettings`. The segmenter is made anew where the files that it comes from have
    changed, as its module tells by ``stamp(settings)``.
    """
    told = cast("SegmenterSettings", settings)
    stamp = getattr(_PLUGS.load(told.model), "stamp", None)
    return _built(told, stamp(told) if stamp else None)


@lru_cache(maxsize=8)
def _built(settings: SegmenterSettings, stamp: Hashable) -> Segmenter:
    del stamp
    return cast("Segmenter", _PLUGS.load(settings.model).build(settings))


def forget() -> None:
    """Make every segmenter anew when it is asked for again."""
    _built.cache_clear()


def run(segmenter: Segmenter, field: Field, store: Store | None = None) -> Objects:
    """The objects of `field`; `store` is where the field's planes lie, for segmenters whose labels lie there too."""
    beside = getattr(segmenter, "segment_from", None)
    if store is not None and beside is not None:
        return cast("Objects", beside(field, store))
    return segmenter.segment(field)


def memory_of(segmenter: Segmenter, shape: tuple[int, int]) -> int:
    """Bytes that `segmenter` says it needs for a plane (Y, X) of `shape` at most; 0 where it says nothing."""
    told = getattr(segmenter, "memory", None)
    return int(told(shape)) if told else 0


def for_one_core(settings: SegmenterSettings) -> SegmenterSettings:
    """`settings` with one thread where they choose threads: for one of many processes that share the cores."""
    known = "threads" in type(settings).model_fields
    return settings.model_copy(update={"threads": 1}) if known else settings


def digest_of(settings: SegmenterSettings, version: str, *extra: str, without: Iterable[str] = ()) -> str:
    """``name-version-hash`` over the settings (less the keys `without`) and `extra` such as the hash of weights.

    Cells are found after the objects, and are no part of what these are.
    """
    text = json.dumps(settings.model_dump(mode="json", exclude={*without, "cells"}), sort_keys=True)
    digest = hashlib.blake2b("\n".join((version, text, *extra)).encode(), digest_size=8)
    return f"{settings.model}-{version}-{digest.hexdigest()}"
