"""From the pixels of a site to an embedding and the classes: normalisation, backbone, what is told besides, heads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import nn
from torch.nn import functional

from phenostream.training.losses.metric import ArcFace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

Normalisation = Literal["site", "screen"]
_EPSILON = 1e-3


class Normalise(nn.Module):
    """Grey levels to numbers about 0 with a spread of 1.

    ``site``: by mean and standard deviation of each channel of each image, which no batch can shift; ``screen``: by
    those of all pixels that were learnt from.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, how: Normalisation, mean: Sequence[float], std: Sequence[float]) -> None:
        """Keep the moments (C,) of what is learnt from, in grey levels."""
        super().__init__()
        self.how = how
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1).clamp_min(_EPSILON))

    def forward(self, image: Tensor) -> Tensor:
        """(N, C, Y, X) of any real type to float32. A flat channel gives zeros under ``site``."""
        image = image.float()
        if self.how == "screen":
            return (image - self.mean) / self.std
        away = image - image.mean((2, 3), keepdim=True)
        return away / ((away**2).mean((2, 3), keepdim=True).sqrt() + _EPSILON)


class Classifier(nn.Module):
    """A site to its embedding and one logit a class.

    What the network is told besides the image (the cell type) is joined to the backbone's features as one number a
    value: 1 for the one that holds; all 0 says that it is not known.
    """

    def __init__(
        self,
        normalise: Normalise,
        backbone: nn.Module,
        *,
        features: int,
        conditions: int,
        embedding: int,
        classes: int,
        margin: ArcFace | None,
    ) -> None:
        """Put the parts together; `features` come out of `backbone`."""
        super().__init__()
        self.normalise, self.backbone = normalise, backbone
        self.conditions = conditions
        self.embed = nn.Sequential(nn.Linear(features + conditions, embedding, bias=False), nn.BatchNorm1d(embedding))
        self.classify = nn.Linear(embedding, classes)
        self.margin = margin

    def forward(self, image: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        """Grey levels (N, C, Y, X) and what is told (N, conditions): logits (N, classes), embedding (N, D)."""
        return self.heads(self.normalise(image), told)

    def heads(self, normalised: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        """The same for images that are normalised already."""
        features = self.backbone(normalised)
        embedding: Tensor = self.embed(torch.cat([features, told.to(features.dtype)], dim=1))
        return self.classify(functional.relu(embedding)), embedding


class Exported(nn.Module):
    """What a package holds: one input, and the mean over symmetries of the square (test-time augmentation).

    What is told comes as further channels, each of one value all over: 1 for the one that holds, else 0.
    """

    def __init__(self, network: Classifier, turns: int) -> None:
        """See every image in the first `turns` (1, 2, 4 or 8) symmetries."""
        super().__init__()
        self.network, self.turns = network, turns

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C + conditions, Y, X) to log probabilities (N, classes) and embedding (N, D), means over the views."""
        channels = image.shape[1] - self.network.conditions
        told = image[:, channels:].mean((2, 3))
        seen = self.network.normalise(image[:, :channels])
        found = [self.network.heads(one, told) for one in turned(seen, self.turns)]
        logs = sum((functional.log_softmax(logits, dim=1) for logits, _ in found[1:]), _logs(found[0][0]))
        whole = sum((embedding for _, embedding in found[1:]), found[0][1])
        return logs / len(found), whole / len(found)


def turned(image: Tensor, count: int) -> list[Tensor]:
    """The first 1, 2, 4 or 8 symmetries of the square, a group each."""
    views = [image, image.flip((2, 3))]
    views += [one.flip(3) for one in views]
    views += [one.transpose(2, 3) for one in views]
    return views[:count]


def one_hot(place: Tensor, size: int) -> Tensor:
    """(N,) places to (N, size) float32; -1 gives zeros."""
    return functional.one_hot(place + 1, size + 1)[:, 1:].float()


def _logs(logits: Tensor) -> Tensor:
    return functional.log_softmax(logits, dim=1)
