"""Learning rates over the steps of a fit, as shares of the highest."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

Schedule: TypeAlias = Literal["cosine", "one-cycle", "constant"]

_DIVIDE, _FINAL_DIVIDE = 25.0, 1e4


def share(schedule: Schedule, step: int, steps: int, *, warmup: int, final: float = 0.0) -> float:
    """Share of the highest learning rate with which step `step` (from 0) of `steps` is taken.

    Args:
        schedule: ``cosine``: a linear rise over `warmup` steps, then half a cosine down to `final` (Loshchilov and
            Hutter, 2017, without restarts); ``one-cycle``: cosine rise from 1/25 over `warmup` steps, cosine fall to
            1/250,000 (Smith and Topin, 2018, with the defaults of torch); ``constant``: the rise, then 1.
        step: from 0.
        steps: of the whole fit.
        warmup: steps of the rise.
        final: share at the end of ``cosine``.
    """
    if schedule == "one-cycle":
        return _one_cycle(step, steps, warmup)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if schedule == "constant":
        return 1.0
    return _between(1.0, final, (step - warmup) / (steps - warmup))


def _one_cycle(step: int, steps: int, warmup: int) -> float:
    top, last = max(warmup - 1, 0), steps - 1
    if step < top:
        return _between(1 / _DIVIDE, 1.0, step / top)
    return _between(1.0, 1 / (_DIVIDE * _FINAL_DIVIDE), (step - top) / max(last - top, 1))


def _between(start: float, end: float, part: float) -> float:
    """From `start` to `end` along half a cosine; `part` runs from 0 to 1."""
    return end + (start - end) * (1 + math.cos(math.pi * part)) / 2
