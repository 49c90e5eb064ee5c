"""Weights of Keras in HDF5, laid over a network of ours by layer name. Tensors alone are read; nothing is run.

Read are the layouts of Keras 1 to 3 in which each layer has a group of its name (``model.save("x.h5")`` and the
``save_weights`` of Keras 1 and 2); configurations and code in the file are left alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from phenostream.errors import DamagedError, NotFoundError
from phenostream.formats import _hdf5
from phenostream.sources import open_store

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray
    from torch import nn

Tensors = dict[str, "NDArray[np.float32]"]
# A layer's group holds its variables, at most this many groups below it.
_DEPTH = 6
_BASES = ("model_weights", "")


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

    def look(file: _hdf5.File) -> dict[str, Tensors]:
        base = next((base for base in _BASES if base and file.has(base)), "")
        found = {name: f"{base}/{name}".strip("/") for name in wanted}
        return {name: _variables(file, where, _DEPTH) for name, where in found.items() if file.has(where)}

    return _hdf5.ask(open_store(str(place.parent)), place.name, look)


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


def _variables(file: _hdf5.File, where: str, depth: int) -> Tensors:
    """All arrays of floating numbers below `where`, by the last part of their path without ``:0``."""
    found: Tensors = {}
    for name in file.names(where):
        path = f"{where}/{name}"
        try:
            file.group(path)
        except NotFoundError:
            found[name.partition(":")[0]] = _array(file, path)
        else:
            found |= _variables(file, path, depth - 1) if depth else {}
    return found


def _array(file: _hdf5.File, path: str) -> NDArray[np.float32]:
    value = file.table(path)
    if value.dtype.kind not in "fiu" or not np.isfinite(value).all():
        raise DamagedError(f"{path} holds {value.dtype}, or values that are not finite")
    return value.astype(np.float32)
