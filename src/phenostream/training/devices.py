"""Where a fit computes: the device, the processes that share the work, and the precision of products.

Several processes are started by ``torchrun --nproc-per-node N -m phenostream train RECIPE``: each takes its share of
every batch, and gradients are averaged (DistributedDataParallel; NCCL on GPUs, Gloo on CPUs).
"""

from __future__ import annotations

import gc
import importlib
import os
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch
from torch import distributed

from phenostream.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Iterator

Precision: TypeAlias = Literal["auto", "fp32", "bf16", "fp16"]

# The others wait for the first process while it validates.
_PATIENCE = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Team:
    """The processes of one fit, as one of them sees it.

    Attributes:
        device: of this process.
        rank: of this process, from 0; 0 writes.
        world: how many there are.
    """

    device: torch.device
    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and validates."""
        return self.rank == 0

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """The mean of `values` over the processes."""
        if self.world == 1:
            return values
        distributed.all_reduce(values)
        return values / self.world

    def least(self, value: int) -> int:
        """The smallest of all processes' numbers."""
        told = torch.tensor(value, device=self.device)
        if self.world > 1:
            distributed.all_reduce(told, op=distributed.ReduceOp.MIN)
        return int(told)

    def told(self, value: object) -> object:
        """What the leading process says."""
        box = [value]
        if self.world > 1:
            distributed.broadcast_object_list(box, src=0, device=self.device)
        return box[0]


@contextmanager
def team(device: str = "auto") -> Iterator[Team]:
    """The processes that torchrun started, or this one alone.

    Args:
        device: ``auto`` (a GPU where there is one, else the CPU), ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        RecipeError: a device that this machine does not have.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Team(pick(device))
        return
    mine = pick(device, local_rank=int(os.environ.get("LOCAL_RANK", "0")))
    if mine.type == "cuda":
        torch.cuda.set_device(mine)
    # Its functions keep, as their default, the group that there is at import: none, if it is imported first.
    importlib.import_module("torch.distributed.nn")
    distributed.init_process_group("nccl" if mine.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield Team(mine, distributed.get_rank(), world)
    finally:
        # Its threads end with the last object that knows the group; one that outlives Python aborts the process.
        gc.collect()
        distributed.destroy_process_group()


def leads() -> bool:
    """Whether this process is the one of its team that writes, as torchrun tells."""
    return int(os.environ.get("RANK", "0")) == 0


def pick(device: str = "auto", *, local_rank: int = 0) -> torch.device:
    """The device that `device` names on this machine. Raises RecipeError where there is none."""
    there = torch.cuda.is_available()
    if device == "auto":
        device = "cuda" if there else "cpu"
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise RecipeError(f"no device is called {device!r}", remedy="auto, cpu, cuda or cuda:1") from error
    if wanted.type == "cuda" and not there:
        raise RecipeError("no CUDA device is to be seen", remedy="device auto or cpu; or install torch for CUDA")
    if wanted.type == "cuda" and wanted.index is None:
        return torch.device("cuda", local_rank)
    return wanted


def half(precision: Precision, device: torch.device) -> torch.dtype | None:
    """The type in which products are computed under autocast, None for float32. Raises RecipeError: fp16 off a GPU."""
    cuda = device.type == "cuda"
    if precision == "auto":
        return torch.bfloat16 if cuda and torch.cuda.is_bf16_supported() else None
    if precision == "fp16" and not cuda:
        raise RecipeError("fp16 needs a GPU", remedy="train.precision: auto, fp32 or bf16")
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


@contextmanager
def repeatable(*, strictly: bool) -> Iterator[None]:
    """Inside, only algorithms that repeat bit for bit, where `strictly`; the caller's choice is put back after."""
    if not strictly:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
