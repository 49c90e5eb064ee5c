"""From the pixels of a site to an embedding and the classes: normalisation, backbone, what is told besides, heads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import nn
from torch.nn import functional

from phenostream.training.networks._pooling import over_grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from phenostream.training.losses.metric import ArcFace

Normalisation = Literal["site", "plate", "screen"]
_EPSILON = 1e-3


class Normalise(nn.Module):
    """Grey levels to numbers about 0 with a spread of about 1.

    ``site``: by mean and standard deviation of each channel of each image, which no batch can shift; ``plate``: by
    those of all pixels of its plate, which are handed in with the image, so that differences between wells stay;
    ``screen``: by those of all pixels that were learnt from.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, how: Normalisation, mean: Sequence[float], std: Sequence[float]) -> None:
        """Keep the moments (C,) of what is learnt from, in grey levels."""
        super().__init__()
        self.how = how
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    @property
    def told(self) -> int:
        """Numbers that are handed in with each image: mean and standard deviation of each channel, or nothing."""
        return 2 * len(self.mean) if self.how == "plate" else 0

    def forward(self, image: Tensor, told: Tensor) -> Tensor:
        """(N, C, Y, X) of any real type and (N, `told`) to float32. A flat channel gives zeros under ``site``."""
        image = image.float()
        if self.how == "site":
            away = image - over_grid(image, keepdim=True)
            return away / (over_grid(away**2, keepdim=True).sqrt() + _EPSILON)
        size = len(self.mean)
        mean, std = (told[:, :size], told[:, size:]) if self.how == "plate" else (self.mean[None], self.std[None])
        return (image - mean[:, :, None, None]) / (std[:, :, None, None] + _EPSILON)


class Classifier(nn.Module):
    """A site to its embedding and one logit a class.

    What the network is told besides the image (the cell type) is joined to the backbone's features as one number a
    value: 1 for the one that holds; all 0 says that it is not known. What the normalisation wants stands behind it.
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

    @property
    def told(self) -> int:
        """Numbers that come with each image."""
        return self.conditions + self.normalise.told

    def forward(self, image: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        """Grey levels (N, C, Y, X) and what is told (N, `told`): logits (N, classes), embedding (N, D)."""
        return self.heads(self.normalised(image, told), told)

    def normalised(self, image: Tensor, told: Tensor) -> Tensor:
        """Grey levels to what the backbone sees."""
        seen: Tensor = self.normalise(image, told[:, self.conditions :])
        return seen

    def heads(self, normalised: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and embedding of images that are normalised already."""
        features = self.backbone(normalised)
        condition = told[:, : self.conditions].to(features.dtype)
        embedding: Tensor = self.embed(torch.cat([features, condition], dim=1))
        return self.classify(functional.relu(embedding)), embedding


class Exported(nn.Module):
    """What a package holds: one input, and the mean over symmetries of the square (test-time augmentation).

    What is told comes as further channels, each of one value all over.
    """

    def __init__(self, network: Classifier, turns: int) -> None:
        """See every image in the first `turns` (1, 2, 4 or 8) symmetries."""
        super().__init__()
        self.network, self.turns = network, turns

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C + `told`, Y, X) to log probabilities (N, classes) and embedding (N, D), means over the views."""
        channels = image.shape[1] - self.network.told
        told = image[:, channels:, 0, 0]  # not their mean: sums of many pixels round
        seen = self.network.normalised(image[:, :channels], told)
        found = [self.network.heads(one, told) for one in turned(seen, self.turns)]
        logs = torch.stack([functional.log_softmax(logits, dim=1) for logits, _ in found])
        return logs.mean(0), torch.stack([embedding for _, embedding in found]).mean(0)


def turned(image: Tensor, count: int) -> list[Tensor]:
    """The first 1, 2, 4 or 8 symmetries of the square, a group each."""
    views = [image, image.flip((2, 3))]
    views += [one.flip(3) for one in views]
    views += [one.transpose(2, 3) for one in views]
    return views[:count]
