"""The package that embeds cells as DeepProfiler does: EfficientNet-B0, its weights taken from a Keras file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from phenostream import __version__
from phenostream.inference import Image, Output
from phenostream.training.export import write_network
from phenostream.training.keras import lay, read_layers
from phenostream.training.networks.cellnet import scaled
from phenostream.training.networks.efficientnet import WIDTH, EfficientNet, shapes

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from torch import Tensor

    from phenostream.inference import Package
    from phenostream.training.keras import Tensors

#: Side in pixels of what the network looks at, and of the box that is cut for it.
SIDE, BOX = 224, 128
_PARTS = ("expand_conv", "expand_bn", "dwconv", "bn", "se_reduce", "se_expand", "project_conv", "project_bn")
# The standard deviations by whose roots Keras divides after an ImageNet model's own normalisation.
_IMAGENET_STD = (0.229, 0.224, 0.225)


def import_efficientnet(
    weights: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    name: str = "efficientnet",
    licence: str = "Apache-2.0",
    replace: bool = False,
) -> Package:
    """Make a model package of EfficientNet-B0 weights in a Keras ``.h5`` file.

    The graph scales each crop to -1..1, copies it to three channels and gives the 1,280 numbers of ``avg_pool``. Where
    the file belongs to a network that begins with its own rescaling and normalisation (``keras.applications``), those
    are part of the graph.

    Args:
        weights: the file, with the classifier or without.
        folder: of the package, to make.
        name: by which `phenostream.inference.find` shall know it.
        licence: SPDX identifier of the weights.
        replace: whether a package that is there may go.

    Raises:
        NotFoundError, DamagedError, HostileError, TooLargeError: as `phenostream.training.keras.read_layers` and `lay`.
    """
    digest = hashlib.sha256(Path(weights).read_bytes()).hexdigest()
    return write(
        efficientnet(weights),
        folder,
        name=name,
        imported={"format": "keras-h5", "sha256": digest},
        licence=licence,
        replace=replace,
    )


def write(
    network: nn.Module,
    folder: str | os.PathLike[str],
    *,
    name: str,
    imported: Mapping[str, str],
    licence: str = "Apache-2.0",
    replace: bool = False,
) -> Package:
    """Write a network of `efficientnet` as a package; `imported` says where its weights are from."""
    return write_network(
        network,
        folder,
        test=np.random.default_rng(0).random((2, 1, SIDE, SIDE), dtype=np.float32),
        outputs=[Output("embedding", tuple(str(i) for i in range(WIDTH)), ratio=None)],
        dynamic={0: "n"},
        name=name,
        title=f"EfficientNet-B0 embedding ({name})",
        description="Crops of cells to the 1,280 numbers of EfficientNet-B0's average pooling, as in DeepProfiler.",
        image=Image(("grey",), size=SIDE, minimum=SIDE),
        training={"imported": dict(imported), "phenostream": __version__},
        metrics={},
        licence=licence,
        settings={"crops": {"geometry": "deepprofiler", "box_px": BOX}, "column": "efficientnet"},
        cite=[{"text": "Tan and Le, EfficientNet, 2019", "url": "https://arxiv.org/abs/1905.11946"}],
        tags=["embedding", "deepprofiler"],
        replace=replace,
    )


def efficientnet(weights: str | os.PathLike[str]) -> nn.Module:
    """The network of a Keras file, in evaluation mode: crops (N, 1, Y, X) to (N, 1280)."""
    names = _names()
    layers = read_layers(weights, [*names, "rescaling", "normalization", "rescaling_1"])
    network = EfficientNet()
    lay(network, layers, names)
    return Described(network, *_entry(layers)).eval()


def _names() -> dict[str, str]:
    """Module of our network by the original's layer."""
    found = {"stem_conv": "stem_conv.conv", "stem_bn": "stem_bn", "top_conv": "top_conv.conv", "top_bn": "top_bn"}
    for block, shape in shapes().items():
        parts = _PARTS if shape.expansion > 1 else _PARTS[2:]
        for part in parts:
            inner = ".conv" if part.endswith("conv") else ""
            found[f"{block}_{part}"] = f"blocks.{block}.{part}{inner}"
    return found


def _entry(layers: dict[str, Tensors]) -> tuple[Tensor, Tensor]:
    """Gain and offset (1, 3, 1, 1) before the first convolution, as the file's own first layers have it."""
    gain, offset = torch.ones(3), torch.zeros(3)
    if "rescaling" in layers:
        gain /= 255
    if told := layers.get("normalization"):
        mean, variance = (torch.from_numpy(told[key].reshape(-1)) for key in ("mean", "variance"))
        # Keras divides by the root of the variance, at least its epsilon of single precision.
        root = variance.sqrt().clamp_min(1e-7)
        gain, offset = gain / root, offset - mean / root
    if "rescaling_1" in layers:
        extra = 1 / torch.tensor(_IMAGENET_STD).sqrt()
        gain, offset = gain * extra, offset * extra
    return gain.view(1, 3, 1, 1), offset.view(1, 3, 1, 1)


class Described(nn.Module):
    """Crops of one channel, scaled and copied to three, through the network."""

    gain: Tensor
    offset: Tensor

    def __init__(self, network: EfficientNet, gain: Tensor, offset: Tensor) -> None:
        """Take `gain` and `offset` (1, 3, 1, 1) that each channel is given first."""
        super().__init__()
        self.network = network
        self.register_buffer("gain", gain)
        self.register_buffer("offset", offset)

    def forward(self, crops: Tensor) -> Tensor:
        """(N, 1, Y, X) to (N, 1280)."""
        grey = scaled(crops).expand(-1, 3, -1, -1)
        return self.network(grey * self.gain + self.offset)  # type: ignore[no-any-return]
