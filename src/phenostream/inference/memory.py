"""How much memory a graph takes: measured on two small inputs, bounded from above, straight in the pixels."""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from phenostream.inference import sessions

if TYPE_CHECKING:
    from phenostream.inference.frame import Frame

__all__ = ["Cost", "cost_of"]

_PROBED = 64**2
#: Scratch of the kernels, which the profile does not tell: convolutions in three dimensions unfold their input.
_SPARE = {2: 1.25, 3: 1.5}


@dataclass(frozen=True, slots=True)
class Cost:
    """Bytes that predicting one image takes, at most.

    Attributes:
        fixed: whatever its size.
        pixel: a pixel of the input.
    """

    fixed: float
    pixel: float

    def bytes(self, pixels: float) -> float:
        """For an input of so many pixels."""
        return self.fixed + self.pixel * pixels

    def pixels(self, bytes: float) -> float:  # noqa: A002  (the unit's name)
        """That so many bytes allow."""
        return (bytes - self.fixed) / self.pixel


def cost_of(onnx: bytes, frame: Frame, channels: int, dtype: np.dtype[Any]) -> Cost:
    """What a graph costs, from its profiles at about 64 x 64 pixels and at four times that.

    Counted are all that the optimised graph's nodes give, the window on its way in, the outputs on their way into the
    result, and some more for scratch. ONNX Runtime frees what it can as it goes, so that less is alive at one time, but
    grows its arena by doubling and keeps it for the next run.
    """
    shapes = [_shape(frame, _PROBED), _shape(frame, 4 * _PROBED)]
    small, large = (math.prod(shape) for shape in shapes)
    most = _bytes(onnx, np.zeros((1, channels, *shapes[1]), dtype))
    spare = _SPARE.get(len(frame.names), 1.25)
    if small == large:
        return Cost(0.0, spare * most / large)
    least = _bytes(onnx, np.zeros((1, channels, *shapes[0]), dtype))
    slope = (most - least) / (large - small)
    return Cost(spare * max(0.0, most - slope * large), spare * slope)


def _shape(frame: Frame, pixels: int) -> tuple[int, ...]:
    side = round(pixels ** (1 / max(len(frame.names), 1)))
    return frame.nearest([side] * len(frame.names))


def _bytes(onnx: bytes, images: np.ndarray[Any, Any]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        session = sessions.open_session(onnx, device="cpu", threads=1, profile=str(Path(folder) / "profile"))
        outputs = sessions.run(session, images)
        events = json.loads(Path(session.end_profiling()).read_bytes())
    nodes = sum(int(event["args"].get("output_size") or 0) for event in events if event.get("cat") == "Node")
    return 2 * images.nbytes + nodes + 3 * sum(one.nbytes for one in outputs)
