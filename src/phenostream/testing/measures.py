"""The second witness of the feature families: cp_measure, asked for the same columns.

cp_measure is needed only where this is used: tests and benchmarks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Columns = dict[str, NDArray[np.float64]]

_EDGE = ("FirstClosestObjectNumber", "SecondClosestObjectNumber")


def witness(
    family: str, image: NDArray[np.float64], labels: NDArray[np.int32], channel: str = "DNA", **options: Any
) -> Columns:
    """What cp_measure 0.3 says of `labels` (Y, X) over `image` (Y, X) in 0..1, under our column names without compartment.

    Args:
        family: one of ours (``size_shape``, ``texture`` ...); `options` are cp_measure's own for it.
        image: float intensities.
        labels: consecutive from 1.
        channel: the name in the columns.

    Neighbours leave out the object numbers, which cp_measure 0.3 gives one place off.
    """
    with np.errstate(all="ignore"):
        return _FAMILIES[family](image, labels, channel, options)


def _core(name: str, key: Callable[[str, str], str]) -> Callable[..., Columns]:
    def ask(image: NDArray[np.float64], labels: NDArray[np.int32], channel: str, options: dict[str, Any]) -> Columns:
        from cp_measure.bulk import get_core_measurements  # noqa: PLC0415  (a witness only)

        found = get_core_measurements(legacy=True, sanitize=False)[name](labels, image, **options)
        return {key(column, channel): np.asarray(values, dtype=float) for column, values in found.items()}

    return ask


def _neighbors(image: NDArray[np.float64], labels: NDArray[np.int32], channel: str, options: dict[str, Any]) -> Columns:  # noqa: ARG001
    from cp_measure.bulk import get_multimask_measurements  # noqa: PLC0415  (a witness only)

    found = get_multimask_measurements()["neighbors"](labels, labels, **options)
    return {
        name: np.asarray(values, dtype=float) for name, values in found.items() if not any(e in name for e in _EDGE)
    }


def _shape(column: str, channel: str) -> str:  # noqa: ARG001
    return f"AreaShape_{column}"


def _end(column: str, channel: str) -> str:
    return f"{column}_{channel}"


def _texture(column: str, channel: str) -> str:
    name, scale, direction, levels = column.split("_")
    return f"Texture_{name}_{channel}_{scale}_{direction}_{levels}"


def _radial(column: str, channel: str) -> str:
    head, name, *rest = column.split("_")
    return "_".join([head, name, channel, *rest])


_FAMILIES: dict[str, Callable[..., Columns]] = {
    "size_shape": _core("sizeshape", _shape),
    "feret": _core("feret", _shape),
    "zernike": _core("zernike", _shape),
    "granularity": _core("granularity", _end),
    "intensity": _core("intensity", _end),
    "texture": _core("texture", _texture),
    "radial_distribution": _core("radial_distribution", _radial),
    "radial_zernike": _core("radial_zernikes", _radial),
    "neighbors": _neighbors,
}
