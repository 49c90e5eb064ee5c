"""What a model package must be, and must say of itself, for its network to segment."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from phenostream.errors import NotFoundError, RecipeError
from phenostream.objects.instances import Rule
from phenostream.objects.judge import Judge
from phenostream.objects.trained import PERCENTILES

if TYPE_CHECKING:
    from phenostream.inference import Package

OUTPUT, MAPS = "maps", 3


class Usage(NamedTuple):
    """How the network of a package is used.

    Attributes:
        working: diameter in pixels at which it is shown objects.
        rule: how its maps become objects without a judge.
        judge: what tells which proposals are objects; None where none came with the package.
    """

    working: float
    rule: Rule
    judge: Judge | None


def usage_of(package: Package) -> Usage:
    """How the network of `package` is used; no network is loaded.

    Raises:
        RecipeError: it is of another kind, or was made for another way to stretch intensities.
        WrongShapeError: its judge does not know these facts.
    """
    _check_tensors(package)
    told = package.settings
    percentiles = told.get("percentiles", list(PERCENTILES))
    if percentiles != list(PERCENTILES):
        raise _unfit(package, f"its intensities are stretched between the percentiles {percentiles}")
    return Usage(_positive(package, told.get("diameter_px")), _rule(package, told.get("rule")), _judge(package))


def _check_tensors(package: Package) -> None:
    if package.axes != "cyx" or len(package.channels) != 1:
        raise _unfit(package, f"it looks at {len(package.channels)} channels of axes {package.axes}, not at one plane")
    outputs = {one.id: one for one in package.description.outputs}
    maps = outputs.get(OUTPUT)
    if maps is None or len(maps.channels) != MAPS or len(maps.space) != 2:
        known = ", ".join(f"{name} ({len(one.channels)})" for name, one in outputs.items())
        raise _unfit(package, f"it gives {known}, not {OUTPUT} ({MAPS}) in a plane")


def _positive(package: Package, told: Any) -> float:
    if not _is_number(told) or told <= 0:
        raise _unfit(package, f"its setting diameter_px is {told!r}, not a diameter in pixels")
    return float(told)


def _rule(package: Package, told: Any) -> Rule:
    if not isinstance(told, dict) or set(told) != set(Rule._fields) or not all(map(_is_number, told.values())):
        raise _unfit(package, f"its setting rule is {told!r}, not numbers for {', '.join(Rule._fields)}")
    return Rule(**told)


def _judge(package: Package) -> Judge | None:
    from phenostream.inference import read_weights  # noqa: PLC0415

    try:
        return Judge.of(read_weights(package))
    except NotFoundError:  # a package may come without weights
        return None


def _is_number(told: Any) -> bool:
    return isinstance(told, int | float) and not isinstance(told, bool) and math.isfinite(told)


def _unfit(package: Package, why: str) -> RecipeError:
    return RecipeError(
        f"the package {package.name} does not segment: {why}",
        remedy="give a package that `phenostream train` made by the task segment, or leave `package` out",
    )
