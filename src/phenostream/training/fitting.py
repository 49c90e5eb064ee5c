"""The one fit loop: seeded, resumable to the bit, alone or on several devices."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from phenostream.errors import DivergedError, LedgerError, RecipeError
from phenostream.training import checkpoints, devices
from phenostream.training.batch_size import choose
from phenostream.training.durable import held
from phenostream.training.interrupts import Asked, listening
from phenostream.training.learning import Learner
from phenostream.training.loading import moved
from phenostream.training.logs import Journal
from phenostream.training.order import Order, own_randomness, seed_step, seed_validation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor, nn

    from phenostream.training.devices import Team
    from phenostream.training.plug import Batch, Task
    from phenostream.training.settings import FitSettings


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a fit stands.

    Attributes:
        step: steps taken, of `steps`.
        steps: of the whole fit.
        epoch: the epoch under way, from 1, of `epochs`.
        epochs: of the whole fit.
        loss: of the last step.
        samples_per_s: of the last steps, over all devices.
        metrics: of the last validation.
    """

    step: int
    steps: int
    epoch: int
    epochs: int
    loss: float
    samples_per_s: float
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class FitResult:
    """How a fit ended.

    Attributes:
        network: with the chosen weights, in evaluation mode, on the CPU.
        metrics: validation metrics of those weights.
        step: the step whose weights they are.
        steps: steps taken.
        epochs: epochs taken.
        stopped: ``finished``, or ``patience`` where the metric no longer got better.
        batch_size: examples a step.
        seconds: spent on steps, over all parts of a resumed fit.
        samples_per_s: examples a second of those.
        device: on which the last part ran.
        folder: with steps.csv, validations.csv, tensorboard and checkpoints.
    """

    network: nn.Module
    metrics: Mapping[str, float]
    step: int
    steps: int
    epochs: int
    stopped: str
    batch_size: int
    seconds: float
    samples_per_s: float
    device: str
    folder: Path


@dataclass(slots=True)
class _Position:
    """What a checkpoint holds beside tensors."""

    batch_size: int
    step: int = 0
    validated: int = 0
    stopped: str = ""
    stale: int = 0
    best_value: float | None = None
    best_step: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    best_metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


def fit(
    task: Task,
    settings: FitSettings,
    *,
    folder: Path | str,
    device: str = "auto",
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> FitResult:
    """Fit `task` in `folder`; called again after any stop, it goes on at the last checkpoint, to the same numbers.

    Args:
        task: what is learnt.
        settings: how.
        folder: of the logs and checkpoints; it is made.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        seed: of every random choice.
        progress: told after each reading of the loss.

    Raises:
        DivergedError: a loss or gradient is NaN or infinite; the message names the step.
        LedgerError: `folder` holds the fit of other settings.
        BusyError: another process fits in `folder`.
        DamagedError: the checkpoint is not whole.
        KeyboardInterrupt: after SIGINT or SIGTERM; a checkpoint of the last step is left.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(own_randomness())
        stack.enter_context(devices.repeatable(strictly=settings.deterministic))
        team = stack.enter_context(devices.team(device))
        stack.enter_context(held(folder) if team.leads else nullcontext())
        asked = stack.enter_context(listening())
        run = _Run(task, settings, folder, team, seed, asked, progress)
        stack.callback(run.learner.leave)
        return run.to_the_end()


class _Run:
    """A fit under way."""

    def __init__(
        self,
        task: Task,
        settings: FitSettings,
        folder: Path,
        team: Team,
        seed: int,
        asked: Asked,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.task, self.settings, self.folder, self.team, self.seed = task, settings, folder, team, seed
        self.asked, self.progress = asked, progress
        self.identity = _identity(task, settings, seed)
        state = checkpoints.latest(folder / "checkpoints")
        self.at = self._position(state)
        self.vouched = [self.at.best_step]
        self.order = Order(len(task), self.at.batch_size, seed)
        self.steps = settings.epochs * self.order.steps
        self.learner = Learner(task, settings, team, seed=seed)
        if state:
            self.learner.restore(state["learner"])
        self.pending: list[tuple[int, dict[str, Tensor | float]]] = []
        self.journal: Journal | None = None
        self.clock = self.saved = time.monotonic()

    def to_the_end(self) -> FitResult:
        if not self.at.stopped:
            if self.team.leads:
                self.journal = Journal(
                    self.folder, self.at.step, self.at.validated, tensorboard=self.settings.tensorboard
                )
            try:
                self._go_on()
            finally:
                if self.journal:
                    self.journal.close()
        return self._result()

    def _go_on(self) -> None:
        steps = range(self.at.step, self.steps)
        workers = self.settings.workers
        with closing(self.task.batches(self.order, steps, team=self.team, workers=workers)) as stream:
            self._take(stream)
        self._checkpoint()

    def _take(self, stream: Iterator[Batch]) -> None:
        self.clock = self.saved = time.monotonic()
        self._validate()  # a checkpoint at the end of an epoch may owe it
        while not self.at.stopped:
            self._step(moved(next(stream), self.team.device, channels_last=self.settings.channels_last))
            if self._due():
                self._read()
            self._validate()

    def _step(self, batch: Any) -> None:
        seed_step(self.seed, self.at.step, self.team.rank)
        told = self.learner.step(batch, self.at.step, self.steps)
        self.at.step += 1
        self.pending.append((self.at.step, told))

    def _due(self) -> bool:
        """Whether the loss is read now. Several processes must agree, so only one alone hears a signal in between."""
        alone = self.team.world == 1 and self.asked.stop
        return alone or self._epoch_ends() or self.at.step % self.settings.log_every == 0

    def _epoch_ends(self) -> bool:
        return self.at.step % self.order.steps == 0

    def _read(self) -> None:
        """Bring the pending numbers from the device, log them, and see whether to stop or to keep a checkpoint."""
        names = list(self.pending[0][1])
        values = torch.stack([_row(told, names, self.team.device) for _, told in self.pending])
        stop = torch.full((len(values), 1), float(self.asked.stop), dtype=values.dtype, device=values.device)
        read = self.team.mean(torch.cat([values, stop], dim=1)).tolist()
        now = time.monotonic()
        spent, self.clock = now - self.clock, now
        self.at.seconds += spent
        rate = len(read) * self.order.batch_size / max(spent, 1e-9)
        steps = [step for step, _ in self.pending]
        self.pending = []
        rows = [dict(zip(names, row, strict=False)) for row in read]
        self._tell(steps, rows, rate)
        self._refuse_what_is_not_finite(steps, rows)
        if read[-1][-1]:
            self._checkpoint()
            raise KeyboardInterrupt
        if now - self.saved >= 60 * self.settings.checkpoint_minutes:
            self._checkpoint()

    def _tell(self, steps: list[int], rows: list[dict[str, float]], rate: float) -> None:
        if self.journal:
            whole = [
                {"step": step, "epoch": self._epoch(step), **row, "samples_per_s": round(rate, 3)}
                for step, row in zip(steps, rows, strict=True)
            ]
            self.journal.steps(whole)
        if self.progress and self.team.leads:
            self.progress(self._progress(rows[-1]["loss"], rate))

    def _progress(self, loss: float, rate: float) -> Progress:
        epoch = self._epoch(self.at.step)
        return Progress(self.at.step, self.steps, epoch, self.settings.epochs, loss, rate, dict(self.at.metrics))

    def _epoch(self, step: int) -> int:
        return (step - 1) // self.order.steps + 1

    def _refuse_what_is_not_finite(self, steps: list[int], rows: list[dict[str, float]]) -> None:
        watched = ("loss",) if self.learner.scaled else ("loss", "gradient")
        for step, row in zip(steps, rows, strict=True):
            for name in watched:
                if not math.isfinite(row[name]):
                    raise DivergedError(
                        f"the {name} of step {step} (epoch {self._epoch(step)}) is {row[name]}",
                        remedy="lower train.learning_rate or train.clip, or set train.precision=fp32; and see that no"
                        " example holds NaN. The last checkpoint is from before",
                    )

    def _validate(self) -> None:
        """Validate at the end of an epoch, where it is due and was not done before a stop."""
        if not self._epoch_ends() or self.at.validated == self.at.step:
            return
        epoch, every = self._epoch(self.at.step), self.settings.validate_every
        last = self.at.step == self.steps
        if last or (every and epoch % every == 0):
            metrics = self._metrics()
            self.at.metrics = metrics
            if self.journal:
                self.journal.validation({"step": self.at.step, "epoch": epoch, **metrics})
            self._compare(metrics)
        self.at.validated = self.at.step
        if last:
            self.at.stopped = self.at.stopped or "finished"
        self.clock = time.monotonic()

    def _metrics(self) -> dict[str, float]:
        told: Any = None
        if self.team.leads:
            seed_validation(self.seed, self.at.step)
            network = self.learner.result
            network.eval()
            with torch.no_grad():
                told = {name: float(value) for name, value in self.task.validate(network).items()}
            self.learner.network.train()
        return dict(self.team.told(told))  # type: ignore[call-overload, no-any-return]

    def _compare(self, metrics: dict[str, float]) -> None:
        """Keep the weights where the watched metric is the best so far; stop where it has not been for long."""
        name = self.settings.monitor
        if not name:
            return
        if name not in metrics:
            known = ", ".join(metrics) or "none"
            raise RecipeError(f"the task has no validation metric {name!r}", remedy=f"train.monitor is one of: {known}")
        if self._better(metrics[name]):
            self.at.best_value, self.at.best_step, self.at.stale = metrics[name], self.at.step, 0
            self.at.best_metrics = metrics
            if self.team.leads:
                state = dict(self.learner.result.state_dict())
                checkpoints.write(checkpoints.best(self.folder, self.at.step), state)
        else:
            self.at.stale += 1
        if self.settings.patience and self.at.stale >= self.settings.patience:
            self.at.stopped = "patience"

    def _better(self, value: float) -> bool:
        if math.isnan(value):
            return False
        if self.at.best_value is None:
            return True
        gain = value - self.at.best_value
        return (gain if self.settings.mode == "max" else -gain) > self.settings.min_delta

    def _checkpoint(self) -> None:
        if self.team.leads:
            position = {name: getattr(self.at, name) for name in _Position.__slots__}
            state = {"identity": self.identity, "position": position, "learner": self.learner.state()}
            if self.journal:
                self.journal.flush()
            checkpoints.save(self.folder / "checkpoints", self.at.step, state)
            # Another branch may have left better weights of a later step: only a checkpoint vouches for a file.
            self.vouched = [*self.vouched[1 - checkpoints.KEPT :], self.at.best_step]
            checkpoints.keep_best(self.folder, self.vouched)
        self.clock = self.saved = time.monotonic()

    def _position(self, state: Mapping[str, Any] | None) -> _Position:
        if state is None:
            return _Position(choose(self.task, self.settings, self.team, seed=self.seed))
        others = _differences(state["identity"], self.identity)
        if others:
            raise LedgerError(
                f"{self.folder} holds a fit with other settings: {', '.join(others)}",
                remedy="choose another folder, or the settings that it was begun with",
            )
        return _Position(**state["position"])

    def _result(self) -> FitResult:
        network = self.learner.result
        if self.at.best_step:
            self.team.told(None)  # the others wait here until the file is there
            network.load_state_dict(checkpoints.read(checkpoints.best(self.folder, self.at.best_step)))
        rate = self.at.step * self.order.batch_size / max(self.at.seconds, 1e-9)
        return FitResult(
            network=network.cpu().eval(),
            metrics=self.at.best_metrics or self.at.metrics,
            step=self.at.best_step or self.at.step,
            steps=self.at.step,
            epochs=self._epoch(self.at.step),
            stopped=self.at.stopped,
            batch_size=self.order.batch_size,
            seconds=self.at.seconds,
            samples_per_s=rate,
            device=device_name(self.team.device),
            folder=self.folder,
        )


def _identity(task: Task, settings: FitSettings, seed: int) -> dict[str, Any]:
    """What must be the same for a fit to go on."""
    own = task.settings.model_dump(mode="json")
    return {"train": settings.deciding(), "settings": own, "seed": seed, "data": dict(task.data())}


def _row(told: Mapping[str, Tensor | float], names: list[str], device: torch.device) -> Tensor:
    return torch.stack([torch.as_tensor(told[name], dtype=torch.float64, device=device).detach() for name in names])


def _differences(old: Any, new: Any, place: str = "") -> list[str]:
    """Where two nests of dicts differ: dotted keys with both values."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [] if old == new else [f"{place} was {old!r} and is {new!r}"]
    keys = sorted({*old, *new})
    return [one for key in keys for one in _differences(old.get(key), new.get(key), f"{place}.{key}".lstrip("."))]


def device_name(device: torch.device) -> str:
    """``cpu``, or the name of the card."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
