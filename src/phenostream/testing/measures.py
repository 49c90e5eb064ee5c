"""Exams for feature families: awkward fields, a conformance check, and cp_measure as the second witness.

cp_measure is needed only where `witness` is used: tests and benchmarks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import gaussian_filter, label

from phenostream.features.registry import family
from phenostream.features.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Columns = dict[str, NDArray[np.float64]]

# cp_measure 0.3 reports the object itself as its closest, and the closest as the second.
_WRONG = ("FirstClosestObjectNumber", "SecondClosestObjectNumber")


def awkward_field(seed: int, *, least: int = 12, most: int = 70) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """A small image (Y, X) uint8 and labels int32 of the kinds that break measurements, chosen by `seed`.

    Confetti of scattered parts, tiles that touch everywhere, boxes, ellipses with holes over the border, concave blobs;
    labels with gaps; over noise, a constant, steps or a ramp.
    """
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(least, most, 2))
    labels = _LABELS[rng.integers(len(_LABELS))](rng, height, width).astype(np.int32)
    noise = rng.integers(0, 256, (height, width))
    ramp = np.add.outer(np.arange(height), np.arange(width)) % 200 + 20
    image = (np.full_like(noise, rng.integers(0, 256)), noise // 64 * 20, ramp, noise)[rng.integers(4)]
    gaps = np.cumsum(rng.integers(1, 4, labels.max() + 1))
    return image.astype(np.uint8), np.where(labels > 0, gaps[labels], 0).astype(np.int32)


def _confetti(rng: np.random.Generator, height: int, width: int) -> NDArray[np.int64]:
    return np.where(rng.random((height, width)) < 0.5, rng.integers(1, 6, (height, width)), 0)


def _tiles(rng: np.random.Generator, height: int, width: int) -> NDArray[np.int64]:
    points = rng.random((rng.integers(2, 15), 2)) * (height, width)
    rows, cols = np.mgrid[:height, :width]
    nearest = np.argmin((rows[..., None] - points[:, 0]) ** 2 + (cols[..., None] - points[:, 1]) ** 2, axis=-1) + 1
    gone = (rng.random((height, width)) < 0.05) | (nearest == 1)
    return np.where(gone, 0, nearest).astype(np.int64)


def _boxes(rng: np.random.Generator, height: int, width: int) -> NDArray[np.int64]:
    labels = np.zeros((height, width), np.int64)
    for number in range(1, rng.integers(2, 13)):
        top, left = rng.integers(0, height), rng.integers(0, width)
        tall, wide = rng.integers(1, 14, 2)
        labels[top : top + tall, left : left + wide] = number
    return labels


def _ellipses(rng: np.random.Generator, height: int, width: int) -> NDArray[np.int64]:
    labels = np.zeros((height, width), np.int64)
    rows, cols = np.mgrid[:height, :width]
    for number in range(1, rng.integers(2, 10)):
        down, right = rows - rng.integers(0, height), cols - rng.integers(0, width)
        turn, (long, short) = rng.random() * 3, rng.random(2) * 12 + 0.5
        along, across = down * np.cos(turn) + right * np.sin(turn), right * np.cos(turn) - down * np.sin(turn)
        reach = (along / long) ** 2 + (across / short) ** 2
        labels[(reach <= 1) & (reach > (0.3 if rng.random() < 0.3 else -1))] = number
    return labels


def _blobs(rng: np.random.Generator, height: int, width: int) -> NDArray[np.int64]:
    return np.asarray(label(gaussian_filter(rng.random((height, width)), rng.random() * 2 + 0.3) > 0.5)[0])


_LABELS = (_confetti, _tiles, _boxes, _ellipses, _blobs)


def check_conformance(name: str, image: NDArray[Any], labels: NDArray[Any]) -> None:
    """Assert what every family promises: as many columns as described, distinct names, the same bits when asked again.

    Also that an object's numbers do not depend on what the others are called, and that no objects give no rows.
    """
    module = family(name)
    settings = module.Settings()
    scene = Scene(image, labels)
    described = module.columns(settings, scene.channels)
    block = module.compute(scene, settings)
    assert block.shape == (len(scene), len(described)), (name, block.shape, len(described))  # noqa: S101
    assert block.dtype == np.float64, (name, block.dtype)  # noqa: S101
    assert len({column.name for column in described}) == len(described), name  # noqa: S101
    assert block.tobytes() == module.compute(Scene(image, labels), settings).tobytes(), name  # noqa: S101
    empty = module.compute(Scene(image, np.zeros_like(labels)), settings)
    assert empty.shape == (0, len(described)), (name, empty.shape)  # noqa: S101
    renamed = module.compute(Scene(image, np.where(labels > 0, 2 * labels.astype(np.int64) + 5, 0)), settings)
    kept = [i for i, column in enumerate(described) if not column.name.startswith("Neighbors")]
    assert renamed[:, kept].tobytes() == block[:, kept].tobytes(), name  # noqa: S101


def disagreements(
    name: str,
    image: NDArray[Any],
    labels: NDArray[Any],
    *,
    rtol: float,
    atol: float = 1e-9,
    settings: dict[str, Any] | None = None,
    **options: Any,
) -> list[str]:
    """Where the family `name` and cp_measure differ by more than ``atol + rtol * abs(witness)``; a line a value.

    Args:
        name: the family.
        image: (Y, X) unsigned integers, scaled as by us for the witness.
        labels: (Y, X).
        rtol: relative tolerance.
        atol: absolute tolerance, for values that are zero but for rounding.
        settings: ours for the family.
        **options: cp_measure's for it.
    """
    module = family(name)
    chosen = module.Settings.model_validate(settings or {})
    scene = Scene(image, labels)
    if not len(scene):
        return []
    ours = dict(
        zip((c.name for c in module.columns(chosen, scene.channels)), module.compute(scene, chosen).T, strict=True)
    )
    scale = scene.scale(scene.channels[0])
    pixels = image / scale
    if name == "intensity":
        # Scaled in single precision like ours, and then added up in double.
        pixels = (image.astype(np.float32) / np.float32(scale)).astype(np.float64)
    theirs = witness(name, pixels, scene.labels, scene.channels[0], **options)
    found = []
    for column in sorted(ours.keys() & theirs.keys()):
        same = np.isclose(ours[column], theirs[column], rtol=rtol, atol=atol, equal_nan=True)
        found += [
            f"{column} of {scene.numbers[i]}: {ours[column][i]} {theirs[column][i]}" for i in np.flatnonzero(~same)
        ]
    return found


def witness(
    family: str, image: NDArray[Any], labels: NDArray[np.int32], channel: str = "DNA", **options: Any
) -> Columns:
    """What cp_measure 0.3 says of `labels` (Y, X) over `image` (Y, X), under our column names without compartment.

    Neighbours leave out the object numbers, which cp_measure 0.3 gives one place off.

    Args:
        family: one of ours (``size_shape``, ``texture`` ...).
        image: intensities 0..1.
        labels: consecutive from 1.
        channel: the name in the columns.
        **options: cp_measure's own for the family.
    """
    with np.errstate(all="ignore"):
        return _FAMILIES[family](image, labels, channel, options)


def _core(name: str, key: Callable[[str, str], str]) -> Callable[..., Columns]:
    def ask(image: NDArray[Any], labels: NDArray[np.int32], channel: str, options: dict[str, Any]) -> Columns:
        from cp_measure.bulk import get_core_measurements  # noqa: PLC0415  (a witness only)

        found = get_core_measurements(legacy=True, sanitize=False)[name](labels, image, **options)
        return {key(column, channel): np.asarray(values, dtype=float) for column, values in found.items()}

    return ask


def _neighbors(image: NDArray[Any], labels: NDArray[np.int32], channel: str, options: dict[str, Any]) -> Columns:  # noqa: ARG001
    from cp_measure.bulk import get_multimask_measurements  # noqa: PLC0415  (a witness only)

    found = get_multimask_measurements()["neighbors"](labels, labels, **options)
    return {
        name: np.asarray(values, dtype=float) for name, values in found.items() if not any(e in name for e in _WRONG)
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
