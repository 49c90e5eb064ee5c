"""The running mean of a network's weights: steadier than the last weights (Polyak and Juditsky, 1992)."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor, nn


class Ema:
    """An exponential moving average of a network.

    Parameters are averaged, ``mean <- decay * mean + (1 - decay) * weights``; buffers (batch statistics) are copied.
    With `ramp`, the decay of update n (from 0) is min(decay, (1 + n) / (10 + n)).

    Attributes:
        network: the averaged network, in evaluation mode.
        updates: how many there were; it must be restored with the network.
    """

    def __init__(self, network: nn.Module, decay: float, *, ramp: bool) -> None:
        self.network = deepcopy(network).eval().requires_grad_(requires_grad=False)
        self.decay = decay
        self.ramp = ramp
        self.updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take the weights of `network` into the mean."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates)) if self.ramp else self.decay
        mine: list[Tensor] = list(self.network.parameters())
        theirs: list[Tensor] = list(network.parameters())
        torch._foreach_lerp_(mine, theirs, 1 - decay)
        for mean, new in zip(self.network.buffers(), network.buffers(), strict=True):
            mean.copy_(new)
        self.updates += 1
