"""The numbers of cp_measure, for the families that are not our own yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from cp_measure.bulk import get_core_measurements, get_multimask_measurements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from phenostream.features.scene import Scene


def measured(scene: Scene, name: str, wanted: Sequence[str], channel: str | None = None, **options: Any) -> NDArray[Any]:
    """The columns `wanted` (n, len(wanted)) of cp_measure's measurement `name` in `channel`."""
    if not len(scene):
        return np.zeros((0, len(wanted)))
    image = np.zeros(scene.labels.shape) if channel is None else scene.image(channel) / scene.scale(channel)
    with np.errstate(all="ignore"):
        if name == "neighbors":
            found = get_multimask_measurements()[name](scene.labels, scene.labels, **options)
        else:
            found = get_core_measurements(legacy=True, sanitize=False)[name](scene.labels, image, **options)
    return np.column_stack([np.asarray(found[key], dtype=float) for key in wanted])
