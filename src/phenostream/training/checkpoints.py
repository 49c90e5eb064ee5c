"""Checkpoints: one safetensors file each, whose header carries the rest as JSON. No pickle is written or read.

A file appears under its name only when it is whole and on the disk (:func:`phenostream.training.durable.replace`), so a
process may be killed at any moment. The last two are kept; each carries a hash of its tensors.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from phenostream.errors import DamagedError
from phenostream.training.durable import replace

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

KEPT = 2
_HEADER = "phenostream"
_TENSOR, _PAIRS, _TUPLE = "$tensor", "$pairs", "$tuple"


def save(folder: Path, step: int, state: Mapping[str, Any]) -> Path:
    """Write `state` (nested dicts, lists and tuples of tensors and JSON values) as the checkpoint of `step`.

    Older ones than the last two are deleted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{step:09d}.safetensors"
    write(path, state)
    for old in paths(folder)[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def best(folder: Path, step: int) -> Path:
    """Where the weights lie that were the best at `step`; the step tells them from those of an abandoned branch."""
    return folder / f"best-{step:09d}.safetensors"


def keep_best(folder: Path, steps: Collection[int]) -> None:
    """Delete the best weights of all other steps than `steps`."""
    kept = {best(folder, step) for step in steps}
    for path in folder.glob("best-*.safetensors"):
        if path not in kept:
            path.unlink(missing_ok=True)


def paths(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, oldest first."""
    return sorted(folder.glob("step-*.safetensors"))


def latest(folder: Path) -> dict[str, Any] | None:
    """The state of the last checkpoint in `folder`, None where there is none. Raises DamagedError."""
    found = paths(folder)
    return read(found[-1]) if found else None


def write(path: Path, state: Mapping[str, Any]) -> None:
    """Write `state` to one file, atomically and durably."""
    tensors: dict[str, torch.Tensor] = {}
    plain = _taken_apart(dict(state), "", tensors)
    # One key: the writer would put several in any order, and equal states should be equal files.
    header = {_HEADER: json.dumps({"state": plain, "sha256": _hash(tensors)})}
    replace(path, lambda temporary: _save(tensors, temporary, header))


def _save(tensors: dict[str, torch.Tensor], path: Path, header: dict[str, str]) -> None:
    try:
        save_file(tensors, path, metadata=header)
    except SafetensorError as error:  # it tells the operating system's error in words only
        told = re.search(r"os error (\d+)", str(error))
        if told is None:
            raise
        raise OSError(int(told[1]), str(error)) from error


def read(path: Path) -> dict[str, Any]:
    """The state in `path`, tensors on the CPU.

    Raises:
        DamagedError: truncated, altered, or not one of ours.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = json.loads((file.metadata() or {})[_HEADER])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
        if header["sha256"] != _hash(tensors):
            raise DamagedError(f"{path} does not hold the tensors that were written", remedy=_remedy(path))
        state: dict[str, Any] = _put_together(header["state"], tensors)
    except (SafetensorError, KeyError, ValueError) as error:
        if isinstance(error, DamagedError):
            raise
        raise DamagedError(f"{path} is not a whole checkpoint: {error}", remedy=_remedy(path)) from error
    return state


def _remedy(path: Path) -> str:
    return f"delete {path.name}: the fit then goes on at the checkpoint before it, or starts anew"


def _hash(tensors: Mapping[str, torch.Tensor]) -> str:
    told = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        told.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        told.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return told.hexdigest()


def _taken_apart(value: Any, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    """`value` with each tensor replaced by its name in `tensors`; keys that are no strings and tuples survive JSON."""
    if isinstance(value, torch.Tensor):
        # A copy of its own each: safetensors refuses tensors that share memory (tied weights).
        tensors[name] = value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        return {_TENSOR: name}
    if isinstance(value, dict):
        return {_PAIRS: [[key, _taken_apart(inner, f"{name}/{key}", tensors)] for key, inner in value.items()]}
    if isinstance(value, list | tuple):
        inner = [_taken_apart(one, f"{name}/{number}", tensors) for number, one in enumerate(value)]
        return {_TUPLE: inner} if isinstance(value, tuple) else inner
    return value


def _put_together(value: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    if isinstance(value, list):
        return [_put_together(one, tensors) for one in value]
    if not isinstance(value, dict):
        return value
    if _TENSOR in value:
        return tensors[value[_TENSOR]]
    if _TUPLE in value:
        return tuple(_put_together(one, tensors) for one in value[_TUPLE])
    return {key: _put_together(inner, tensors) for key, inner in value[_PAIRS]}
