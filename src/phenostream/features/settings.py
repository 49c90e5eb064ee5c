"""What to measure, as a recipe says it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from phenostream.errors import RecipeError
from phenostream.features.deep.settings import DeepSettings  # noqa: TC001  (pydantic reads it)
from phenostream.values import recipes

if TYPE_CHECKING:
    from phenostream.features.registry import Family

#: The families that together give the 157 columns of the published MitoCheck tables.
PUBLISHED = (
    "size_shape",
    "feret",
    "zernike",
    "granularity",
    "intensity",
    "neighbors",
    "radial_distribution",
    "texture",
)

#: Those that are measured in volumes when none is chosen.
IN_VOLUMES = ("size_shape", "intensity", "texture")


_KINDS = ("classical", "deep")


class MeasureSettings(BaseModel):
    """Which feature families are measured, with which parameters, and which model embeds the same objects.

    ``[classical, deep]`` is short for the default families and the default model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    families: tuple[str, ...] = Field(
        PUBLISHED,
        description="Feature families by name, in the order of their columns; the default gives the 157 published.",
    )
    compartment: str = Field("Nuclei", description="What the objects are; the first word of every column.")
    parameters: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Settings of a family that differ from its defaults, by family: `{texture: {scales: [3, 5]}}`.",
    )
    deep: DeepSettings | None = Field(
        None,
        description="the model that embeds each object beside the families: `{}` for the default; none if not given",
    )

    @model_validator(mode="before")
    @classmethod
    def a_list_names_kinds(cls, given: Any) -> Any:
        """``[classical, deep]``, ``[deep]`` or ``[classical]``."""
        if not isinstance(given, list | tuple):
            return given
        if unknown := [kind for kind in given if kind not in _KINDS]:
            raise ValueError(f"no kind of features {unknown[0]!r}; choose among {', '.join(_KINDS)}")
        return {**({} if "classical" in given else {"families": ()}), **({"deep": {}} if "deep" in given else {})}

    @model_serializer(mode="wrap")
    def only_what_was_asked(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without embeddings, nothing is said of them: recipes of before keep their identity."""
        told: dict[str, Any] = handler(self)
        if told.get("deep") is None:
            told.pop("deep", None)
        return told

    def plan(self, *, volumes: bool = False) -> list[tuple[str, Family, BaseModel]]:
        """Every chosen family, or its form for volumes, with its resolved settings.

        Raises RecipeError naming what is unknown or out of range.
        """
        from phenostream.features.registry import family, in_volumes  # noqa: PLC0415  (imports the compiler)

        found = in_volumes if volumes else family
        idle = set(self.parameters) - set(self.families)
        if idle:
            raise RecipeError(f"parameters for families that are not chosen: {', '.join(sorted(idle))}")
        if len(set(self.families)) < len(self.families):
            raise RecipeError(f"a family is named twice: {', '.join(self.families)}")
        return [
            (name, found(name), _resolve(name, found(name), self.parameters.get(name, {}))) for name in self.families
        ]

    def versions(self) -> dict[str, Any]:
        """Code version of every chosen family and content of the chosen model: what a result's identity must include.

        Raises:
            NotFoundError, ChangedError: the model is not there, or not what it was.
        """
        found: dict[str, Any] = {name: module.VERSION for name, module, _ in self.plan()}
        if self.deep:
            from phenostream.features.deep.embedding import resolved  # noqa: PLC0415  (imports the compiler)

            found["deep"] = resolved(self.deep)
        return found


def _resolve(name: str, module: Family, given: dict[str, Any]) -> BaseModel:
    try:
        return module.Settings.model_validate(given)
    except ValidationError as error:
        raise RecipeError(f"measure.parameters.{name}.{recipes.faults(error, most=1)}") from error
