"""How much memory a graph takes: measured on two small inputs, bounded from above, straight in the pixels."""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from phenostream.errors import TooLargeError
from phenostream.inference import sessions
from phenostream.inference.graph import read_steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phenostream.inference.frame import Frame
    from phenostream.inference.graph import Step

__all__ = ["Cost", "cost_of"]

_PROBED = 64**2
#: Scratch of the kernels, and the arena that grows by doubling: nets of this room's tests took at most 1.15 times what
#: is counted.
_SPARE = 1.5
_FIXED = 16e6
_LARGEST_PROBE = 2**26


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

    Counted are the tensors of the optimised graph that are alive at one time (all of them where its steps cannot be
    matched with the profile), the window on its way in, the outputs on their way into the result, half as much
    again, and a little for threads and small things. Raises TooLargeError where even the least image is too large.
    """
    shapes = [_shape(frame, _PROBED), _shape(frame, 4 * _PROBED)]
    small, large = (math.prod(shape) for shape in shapes)
    if large > _LARGEST_PROBE:
        raise TooLargeError(f"the model takes no image of less than {large:,} pixels", remedy="correct its sizes")
    most = _bytes(onnx, np.zeros((1, channels, *shapes[1]), dtype))
    if small == large:
        return Cost(_FIXED, _SPARE * most / large)
    least = _bytes(onnx, np.zeros((1, channels, *shapes[0]), dtype))
    slope = (most - least) / (large - small)
    return Cost(_FIXED + _SPARE * max(0.0, most - slope * large), _SPARE * slope)


def _shape(frame: Frame, pixels: int) -> tuple[int, ...]:
    side = round(pixels ** (1 / max(len(frame.names), 1)))
    return frame.nearest([side] * len(frame.names))


def _bytes(onnx: bytes, images: np.ndarray[Any, Any]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        prefix = Path(folder) / "profile"
        session = sessions.open_session(onnx, device="cpu", threads=1, profile=str(prefix))
        outputs = sessions.run(session, images)
        events = json.loads(Path(session.end_profiling()).read_bytes())
        steps = read_steps(prefix.with_suffix(".onnx").read_bytes())
    ran = [event["args"] for event in events if event.get("cat") == "Node"]
    sizes = [int(told.get("output_size") or 0) for told in ran]
    known = [told.get("op_name") for told in ran] == [step.operator for step in steps]
    alive = _alive(steps, sizes) if known else sum(sizes)
    return alive + 2 * images.nbytes + 3 * sum(one.nbytes for one in outputs)


def _alive(steps: Sequence[Step], sizes: Sequence[int]) -> int:
    """Most bytes that are alive at one time, when each tensor goes after the last step that takes it."""
    last = {name: place for place, step in enumerate(steps) for name in step.takes}
    ends: dict[int, int] = {}
    alive = most = 0
    for place, (step, size) in enumerate(zip(steps, sizes, strict=True)):
        alive += size
        most = max(most, alive)
        end = max((last.get(name, len(steps)) for name in step.gives), default=place)
        ends[end] = ends.get(end, 0) + size
        alive -= ends.pop(place, 0)
    return most
