"""Recipes: one YAML file describes one run; every step's settings live beside the function they configure."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ByteSize, ConfigDict, Field, SerializeAsAny, ValidationError

from phenostream import objects
from phenostream.errors import RecipeError
from phenostream.features import MeasureSettings
from phenostream.images import IlluminationSettings
from phenostream.sources import TransportOptions, catalogs
from phenostream.stream.select import Select
from phenostream.values import recipes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Frozen(BaseModel):
    """Settings are values: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class OutputSettings(Frozen):
    """What is written for each field."""

    outlines: bool = Field(True, description="keep each object's outline as two lists of pixel coordinates")
    thumbnail: int = Field(
        256, ge=0, le=1024, description="longest side of the field's thumbnail in pixels, 0 for none"
    )
    parts: str = Field(
        "",
        description="where parts and models are put: s3://bucket/prefix, gs://bucket/prefix or the folder of a mounted"
        " share; empty: into the run folder",
    )
    transport: TransportOptions = Field(
        default_factory=TransportOptions, description="patience and credentials of that storage"
    )


class StreamSettings(Frozen):
    """How the run uses this machine; nothing here changes a single byte of the result."""

    workers: int = Field(0, ge=0, le=1024, description="processes that compute; 0 is one per core")
    fetchers: int = Field(4, ge=1, le=64, description="transfers under way at once")
    disk_budget: ByteSize = Field(
        ByteSize(2 * 10**9), description="downloads, scratch and parts in progress together never exceed this"
    )
    budget_folder: str = Field(
        "",
        description="a folder on a local disk: runs that name the same one share one budget; empty: all runs of this"
        " user whose scratch is on one file system do",
    )
    memory: ByteSize = Field(ByteSize(8 * 10**9), description="cap on the memory of all workers together")
    batch_size: int = Field(8, ge=1, le=4096, description="units made visible by one ledger transaction")


def _segmenter(value: Any) -> Any:
    return objects.settings(value) if isinstance(value, dict) else value


def _catalog(value: Any) -> Any:
    return catalogs.parse(value) if isinstance(value, dict) else value


class Recipe(Frozen):
    """One run, resolved: where images come from, what happens to them, and how the machine is used."""

    source: Annotated[SerializeAsAny[BaseModel], BeforeValidator(_catalog)] = Field(
        description="the catalog that names the images, chosen by its key `catalog`"
    )
    select: Select = Field(default_factory=Select, description="which of the catalog's fields are wanted")
    correct: IlluminationSettings = Field(default_factory=IlluminationSettings, description="illumination")
    segment: Annotated[SerializeAsAny[BaseModel], BeforeValidator(_segmenter)] = Field(
        default_factory=lambda: objects.settings({"model": "classical"}),
        description="the segmenter, chosen by its key `model`",
    )
    measure: MeasureSettings = Field(default_factory=MeasureSettings, description="families and their parameters")
    output: OutputSettings = Field(default_factory=OutputSettings, description="what is written for each field")
    stream: StreamSettings = Field(default_factory=StreamSettings, description="workers, budget, batches")
    transport: TransportOptions = Field(
        default_factory=TransportOptions, description="patience, limits and credentials of the archive's transport"
    )
    seed: int = Field(0, ge=0, description="of every random choice")

    @classmethod
    def load(cls, recipe: Recipe | Mapping[str, Any] | str | Path, overrides: Iterable[str] = ()) -> Self:
        """A recipe from a YAML file, a mapping or a recipe, with ``a.b=c`` overrides.

        Raises:
            RecipeError: with the file, the key and what was expected.
            NotFoundError: no such file.
        """
        if isinstance(recipe, Recipe):
            mapping = recipe.model_dump()  # in JSON its secrets would be starred
            name = "recipe"
        elif isinstance(recipe, str | Path):
            mapping, name = recipes.read(Path(recipe), start="`source:`"), str(recipe)
        else:
            mapping, name = dict(recipe), "recipe"
        for override in overrides:
            recipes.override(mapping, override, example="step.key=value")
        # Parsed here, so that an error of a catalog or segmenter stands as it is and not inside pydantic's.
        mapping = {**mapping, **{key: parse(mapping[key]) for key, parse in _PARSERS.items() if key in mapping}}
        try:
            return cls.model_validate(mapping)
        except ValidationError as error:
            raise RecipeError(f"{name}: {_explain(error)}", remedy="see `phenostream recipe` for every key") from error

    def steps(self) -> dict[str, Any]:
        """The part of the recipe that decides what a unit's rows are, as plain JSON values."""
        whole = self.model_dump(mode="json")
        told = {step: whole[step] for step in ("correct", "segment", "measure", "output", "seed")}
        where = ("parts", "transport")  # where a part lies changes none of its bytes
        return told | {"output": {name: value for name, value in told["output"].items() if name not in where}}

    def canonical_steps(self) -> str:
        """The steps as canonical JSON: the key under which workers keep their models."""
        return json.dumps(self.steps(), sort_keys=True, separators=(",", ":"))

    def digest(self) -> str:
        """Hash of the steps: two recipes with the same digest may share a run folder."""
        return digest(self.steps())


_PARSERS = {"source": _catalog, "segment": _segmenter}


def digest(value: Any) -> str:
    """BLAKE2b of the canonical JSON of `value`, 32 hex digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def schema() -> dict[str, Any]:
    """JSON Schema of a recipe, for editors."""
    whole = Recipe.model_json_schema()
    whole["properties"]["source"] = {
        "oneOf": [catalogs.load(name).Settings.model_json_schema() for name in catalogs.known()]
    }
    return whole


def _explain(error: ValidationError) -> str:
    lines = []
    for fault in error.errors(include_url=False):
        place = ".".join(str(part) for part in fault["loc"]) or "recipe"
        known = ""
        if fault["type"] == "extra_forbidden":
            known = f" (unknown key {fault['loc'][-1]!r})"
        lines.append(f"{place}: {fault['msg']}{known}")
    return "; ".join(lines)
