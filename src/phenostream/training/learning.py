"""One step of learning, and all the state that it changes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from phenostream.training.averaging import Ema
from phenostream.training.devices import half
from phenostream.training.order import seed_network
from phenostream.training.schedules import share

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phenostream.training.devices import Team
    from phenostream.training.plug import Batch, Task
    from phenostream.training.settings import FitSettings


class _Objective(nn.Module):
    """From a batch to its loss in one call, which is the shape that DistributedDataParallel wants."""

    def __init__(self, network: nn.Module, task: Task, dtype: torch.dtype | None, device: torch.device) -> None:
        super().__init__()
        self.network = network
        self.task = task
        self.dtype = dtype
        self.device = device

    def forward(self, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None):
            return self.task.loss(self.network, batch)


class Learner:
    """A network with its optimizer, gradient scaler and running mean.

    Attributes:
        network: in training mode, on the team's device.
        ema: the running mean of its weights, where wanted.
    """

    def __init__(self, task: Task, settings: FitSettings, team: Team, *, seed: int) -> None:
        seed_network(seed)
        self.task, self.settings = task, settings
        self.network = _placed(task.network(), settings, team).train()
        dtype = half(settings.precision, team.device)
        objective = _Objective(self.network, task, dtype, team.device)
        cards = [team.device.index] if team.device.type == "cuda" else None
        self._objective: nn.Module = DistributedDataParallel(objective, cards) if team.world > 1 else objective
        self._optimizer = optimizer(self.network, settings)
        self._scaler = torch.amp.GradScaler(team.device.type, enabled=dtype == torch.float16)
        self.ema = Ema(self.network, settings.ema, ramp=settings.ema_ramp) if settings.ema else None

    @property
    def scaled(self) -> bool:
        """Whether the loss is scaled for fp16; then an infinite gradient is a skipped step and no fault."""
        return bool(self._scaler.is_enabled())

    @property
    def result(self) -> nn.Module:
        """The network that is validated and kept: the running mean, or the weights themselves."""
        return self.ema.network if self.ema else self.network

    def step(self, batch: Batch, step: int, steps: int) -> dict[str, Tensor | float]:
        """Take step `step` (from 0) of `steps`; what there is to log of it."""
        rate = self._set_rate(step, steps)
        self._optimizer.zero_grad(set_to_none=True)
        loss, told = self._objective(batch)
        self._scaler.scale(loss).backward()
        self._scaler.unscale_(self._optimizer)
        norm = nn.utils.clip_grad_norm_(self._trained(), self.settings.clip or math.inf)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self.task.stepped(self.network, (step + 1) / steps)
        if self.ema:
            self.ema.update(self.network)
        return {"loss": loss.detach(), **told, "gradient": norm, "learning_rate": rate}

    def leave(self) -> None:
        """Let go of the other processes; the network stays, and learns no more."""
        self._objective = self.network

    def state(self) -> dict[str, Any]:
        """All that a later process needs to go on exactly here."""
        return {
            "network": dict(self.network.state_dict()),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "ema": {"network": dict(self.ema.network.state_dict()), "updates": self.ema.updates} if self.ema else None,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over the state that another process left."""
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(self._laid_out(state["optimizer"]))
        self._scaler.load_state_dict(state["scaler"])
        if self.ema:
            self.ema.network.load_state_dict(state["ema"]["network"])
            self.ema.updates = state["ema"]["updates"]

    def _trained(self) -> list[nn.Parameter]:
        return [parameter for group in self._optimizer.param_groups for parameter in group["params"]]

    def _set_rate(self, step: int, steps: int) -> float:
        wanted = self.settings
        now = share(wanted.schedule, step, steps, warmup=round(wanted.warmup * steps), final=wanted.final)
        for group in self._optimizer.param_groups:
            group["lr"] = group["initial_lr"] * now
        return wanted.learning_rate * now

    def _laid_out(self, state: dict[str, Any]) -> dict[str, Any]:
        """The optimizer's tensors in the memory order of their weights, on which the last bit of a sum may depend."""
        laid = {}
        for number, weight in enumerate(self._trained()):
            inner = state["state"].get(number, {})
            laid[number] = {
                name: torch.empty_like(weight, device="cpu").copy_(value) if _is_like(value, weight) else value
                for name, value in inner.items()
            }
        return {**state, "state": {number: inner for number, inner in laid.items() if inner}}


def _is_like(value: Any, weight: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == weight.shape and value.dtype == weight.dtype


def _placed(network: nn.Module, settings: FitSettings, team: Team) -> nn.Module:
    if settings.sync_batchnorm and team.world > 1 and team.device.type == "cuda":
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    network = network.to(team.device)
    return network.to(memory_format=torch.channels_last) if settings.channels_last else network  # type: ignore[call-overload]


def optimizer(network: nn.Module, settings: FitSettings) -> torch.optim.Optimizer:
    """The optimizer of `network`'s trainable weights; vectors and scalars (biases, norms) do not decay."""
    weights = [one for one in network.parameters() if one.requires_grad]
    groups = [
        {"params": [one for one in weights if one.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [one for one in weights if one.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [{**group, "initial_lr": settings.learning_rate} for group in groups if group["params"]]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=settings.momentum, nesterov=True)
    return torch.optim.AdamW(groups, lr=settings.learning_rate)
