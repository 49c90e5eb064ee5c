"""The largest batch that fits the memory: tried on a GPU, foreseen from the growth of memory on a CPU."""

from __future__ import annotations

import gc
import resource
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import torch

from phenostream.errors import RecipeError, TooLargeError
from phenostream.machine import free_memory
from phenostream.training.learning import Learner
from phenostream.training.loading import moved
from phenostream.training.order import Order, own_randomness

if TYPE_CHECKING:
    from collections.abc import Callable

    from phenostream.training.devices import Team
    from phenostream.training.plug import Task
    from phenostream.training.settings import FitSettings

# What the allocator, other streams and validation need beside a step.
_HEADROOM = 0.9
# Of the memory that a CPU machine has free when the search begins.
_CPU_SHARE = 0.5


def choose(task: Task, settings: FitSettings, team: Team, *, seed: int) -> int:
    """The batch size over all processes that `settings` wants, found by trial for ``auto``.

    Raises:
        RecipeError: a batch size that the processes cannot share evenly, or that leaves them less than a step needs.
        TooLargeError: not even one example fits.
    """
    if settings.batch_size != "auto":
        if settings.batch_size % team.world:
            raise RecipeError(
                f"{team.world} processes cannot share a batch of {settings.batch_size} evenly",
                remedy=f"make train.batch_size a multiple of {team.world}",
            )
        if settings.batch_size < task.least * team.world:
            raise RecipeError(
                f"a step of this task needs {task.least} examples in each of {team.world} processes",
                remedy=f"set train.batch_size to {task.least * team.world} or more",
            )
        return settings.batch_size
    limit = min(settings.batch_limit, len(task) // team.world)
    with own_randomness():
        trial = _Trial(task, settings, team, seed)
        found = search_gpu(trial, limit) if team.device.type == "cuda" else search_cpu(trial, limit)
    return max(team.least(found), task.least) * team.world


def search_gpu(trial: Callable[[int], object], limit: int, *, fails: type[Exception] = torch.OutOfMemoryError) -> int:
    """The largest batch up to `limit` for which `trial` does not raise `fails`, less a tenth where one did.

    Doubles until it fails, then halves the gap.

    Raises:
        TooLargeError: it fails for one example.
    """
    fits, bad, size = 0, limit + 1, 1
    while bad - fits > 1:
        if _passes(trial, size, fails):
            fits = size
        else:
            bad = size
        size = min(2 * fits, limit) if bad > limit else (fits + bad) // 2
        if bad <= limit and fits and bad - fits <= fits // 16:
            break
    return _with_headroom(fits, cut=bad <= limit)


def search_cpu(
    trial: Callable[[int], object],
    limit: int,
    *,
    cap: int | None = None,
    peak: Callable[[], int] | None = None,
    forget: Callable[[], object] | None = None,
) -> int:
    """The largest batch up to `limit` whose memory is foreseen to stay under `cap`.

    A CPU machine has no error that can be caught: it swaps or kills. So the batch is doubled only while the straight
    line through the last two peaks says that the next one fits too.

    Args:
        trial: takes one step with a batch of that size.
        limit: the most to try.
        cap: bytes that the search may add to this process; half of what the machine has free, where not given.
        peak: highest resident memory of this process since `forget`, in bytes.
        forget: begins the highest anew.

    Raises:
        TooLargeError: one example alone takes more than `cap`.
    """
    peak, forget = peak or resident_peak, forget or forget_peak
    cap = int(_CPU_SHARE * free_memory(unknown=0.5)) if cap is None else cap
    trial(1)  # the first step loads kernels and makes the optimizer's state
    forget()  # and may have read all examples: what it took at its highest would hide what larger batches take
    start = peak()
    trial(1)
    before = peak()
    size, slope = 1, 0.0
    while size < limit:
        following = min(2 * size, limit)
        if before - start + slope * (following - size) > cap:
            return _with_headroom(size + int((cap - (before - start)) / slope), cut=True)
        trial(following)
        now = peak()
        slope, before, size = (now - before) / (following - size), now, following
        if now - start > cap:
            return _with_headroom(int(size * cap / (now - start)), cut=True)
    return size


def _with_headroom(size: int, *, cut: bool) -> int:
    if size < 1:
        raise TooLargeError(
            "not even one example fits the memory", remedy="smaller examples or network, or train.precision: bf16"
        )
    return max(int(size * _HEADROOM), 1) if cut else size


def _passes(trial: Callable[[int], object], size: int, fails: type[Exception]) -> bool:
    try:
        trial(size)
    except fails:
        failed = True
    else:
        failed = False
    if failed:  # outside the handler, whose error still holds the frames and their tensors
        gc.collect()
        torch.cuda.empty_cache()
    return not failed


class _Trial:
    """Takes steps with batches of any size, on a network that is thrown away."""

    def __init__(self, task: Task, settings: FitSettings, team: Team, seed: int) -> None:
        self.task, self.settings, self.seed = task, settings, seed
        self.alone = type(team)(team.device)
        self.learner = Learner(task, settings, self.alone, seed=seed)

    def __call__(self, size: int) -> None:
        order = Order(len(self.task), max(size, self.task.least), self.seed)
        with closing(self.task.batches(order, range(1), team=self.alone, workers=0)) as stream:
            batch = moved(next(stream), self.alone.device, channels_last=self.settings.channels_last)
        told = self.learner.step(batch, 0, 1)
        float(told["loss"])  # waits for the card


def resident_peak() -> int:
    """Highest resident memory of this process since `forget_peak`, in bytes; since its start where that can't be."""
    with suppress(OSError, ValueError), open("/proc/self/status", encoding="ascii") as file:
        (line,) = (line for line in file if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def forget_peak() -> None:
    """Begin the highest resident memory anew, where Linux lets a process do so."""
    with suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
