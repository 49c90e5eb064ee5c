"""Weights of Keras in HDF5, laid over a network of ours by layer name. Tensors alone are read; nothing is run.

Read are the layouts of Keras 1 to 3 in which each layer has a group of its name (``model.save("x.h5")`` and the
``save_weights`` of Keras 1 and 2); configurations and code in the file are left alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import torch

from phenostream.errors import DamagedError, HostileError, NotFoundError, TooLargeError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray
    from torch import nn

Tensors = dict[str, "NDArray[np.float32]"]
# A layer's group holds its variables, at most this many groups below it.
_DEPTH = 6
_BASES = ("model_weights",)
# Deflate, shuffle and Fletcher-32; numbers in one variable.
_FILTERS = {1, 2, 3}
_LARGEST = 2**28


def read_layers(path: str | os.PathLike[str], layers: Iterable[str]) -> dict[str, Tensors]:
    """Variables of the named layers that the file holds, by layer and variable name (``kernel``, ``gamma`` ...).

    Raises:
        NotFoundError: no such file.
        DamagedError: no HDF5, or variables that are no finite numbers of fixed size.
        HostileError: links out of the file, or filters of strangers.
        TooLargeError: a claimed size is over the cap.
    """
    place = Path(path)
    wanted = tuple(layers)
    if not place.is_file():
        raise NotFoundError(f"no file {place}", remedy="give the path of a Keras .h5 file")

    try:
        with h5py.File(place, "r") as file:
            base = next((group for name in _BASES if (group := _step(file, name)) is not None), file)
            found = {name: _step(base, name) for name in wanted}
            return {name: _variables(group, _DEPTH) for name, group in found.items() if isinstance(group, h5py.Group)}
    except (OSError, KeyError, RuntimeError) as error:
        raise DamagedError(f"{place} is no HDF5 file, truncated or corrupt: {error}") from error


def lay(network: nn.Module, layers: Mapping[str, Tensors], names: Mapping[str, str]) -> None:
    """Copy variables into the modules of `network`.

    Args:
        network: changed in place.
        layers: variables by layer and name, as of `read_layers`.
        names: module (a convolution or batch normalisation) of `network` by layer.

    Raises:
        NotFoundError: a layer or variable that the network needs is not there.
        DamagedError: a variable of another shape.
    """
    state = network.state_dict()
    for layer, module in names.items():
        if layer not in layers:
            raise NotFoundError(f"no layer {layer!r} in the file", remedy="is it the weights of this network?")
        for key, value in _named(layer, layers[layer], depthwise=_is_depthwise(network, module)).items():
            target = state[f"{module}.{key}"]
            if tuple(target.shape) != value.shape:
                raise DamagedError(f"{layer} has {key} of shape {value.shape}, not {tuple(target.shape)}")
            target.copy_(torch.from_numpy(np.ascontiguousarray(value)))
        if missing := _needed(state, module) - set(_named(layer, layers[layer], depthwise=False)):
            raise NotFoundError(f"layer {layer!r} lacks {', '.join(sorted(missing))}")


def _needed(state: Mapping[str, torch.Tensor], module: str) -> set[str]:
    own = {key.removeprefix(f"{module}.") for key in state if key.startswith(f"{module}.")}
    return own - {"num_batches_tracked"}


def _is_depthwise(network: nn.Module, module: str) -> bool:
    found = network.get_submodule(module)
    return getattr(found, "groups", 1) > 1


def _named(layer: str, variables: Tensors, *, depthwise: bool) -> Tensors:
    """PyTorch's names and orders of axes."""
    found: Tensors = {}
    for name, value in variables.items():
        if name in ("kernel", "depthwise_kernel"):
            if value.ndim != 4:
                raise DamagedError(f"{layer} has a kernel of shape {value.shape}, not of four axes")
            # (Y, X, in, out), of a depthwise one (Y, X, in, 1)
            found["weight"] = value.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
        elif name in _NAMES:
            found[_NAMES[name]] = value
    return found


_NAMES = {
    "bias": "bias", "gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var",
    "mean": "mean", "variance": "variance",
}  # fmt: skip


def _step(group: h5py.Group, name: str) -> Any:
    """What lies in `group` itself under `name`, None where nothing does. Raises HostileError for links elsewhere."""
    link = group.get(name, getlink=True)
    if link is not None and not isinstance(link, h5py.HardLink):
        raise HostileError(f"{group.name}/{name} is a link to somewhere else", remedy="do not use this file")
    return None if link is None else group[name]


def _variables(group: h5py.Group, depth: int) -> Tensors:
    """All arrays of numbers below `group`, by the last part of their path without ``:0``."""
    found: Tensors = {}
    for name in sorted(group):
        item = _step(group, name)
        if isinstance(item, h5py.Dataset):
            found[name.partition(":")[0]] = _array(item)
        elif depth:
            found |= _variables(item, depth - 1)
    return found


def _array(dataset: h5py.Dataset) -> NDArray[np.float32]:
    plist = dataset.id.get_create_plist()
    filters = {plist.get_filter(number)[0] for number in range(plist.get_nfilters())}
    if dataset.is_virtual or plist.get_external_count() or filters - _FILTERS:
        raise HostileError(f"{dataset.name} keeps its data elsewhere, or in a way of its own")
    if dataset.size > _LARGEST:
        raise TooLargeError(f"{dataset.name} claims {dataset.size:,} numbers, over the cap of {_LARGEST:,}")
    if dataset.dtype.kind not in "fiu":
        raise DamagedError(f"{dataset.name} holds {dataset.dtype}, not numbers")
    value = np.asarray(dataset[()])
    if not np.isfinite(value).all():
        raise DamagedError(f"{dataset.name} holds values that are not finite")
    return value.astype(np.float32)
