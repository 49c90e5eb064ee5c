"""Losses that ask embeddings of one class to lie together and those of others to lie apart."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class ArcFace(nn.Module):
    """Cross-entropy of angles, the true one made harder by a margin (Deng et al. 2019, arXiv:1801.07698).

    ``-log softmax(s cos(angle + m of the true class))`` over the angles between an embedding and each class's centre.
    Where angle and margin exceed pi, the cosine would rise again; there it goes on as a straight line.
    """

    def __init__(self, width: int, classes: int, *, scale: float = 30.0, margin: float = 0.5) -> None:
        """Draw a centre for each of `classes`; `margin` in rad, `scale` is what cosines are multiplied with."""
        super().__init__()
        self.centres = nn.Parameter(nn.init.xavier_normal_(torch.empty(classes, width)))
        self.scale, self.margin = scale, margin

    def forward(self, embedding: Tensor, label: Tensor) -> Tensor:
        """(N, width) and class numbers (N,) to the mean loss."""
        cosine = functional.linear(functional.normalize(embedding.float()), functional.normalize(self.centres.float()))
        own = cosine.gather(1, label[:, None]).clamp(-1, 1)
        sine = (1 - own**2).clamp_min(1e-12).sqrt()
        harder = own * math.cos(self.margin) - sine * math.sin(self.margin)
        harder = torch.where(own > math.cos(math.pi - self.margin), harder, own - self.margin * math.sin(self.margin))
        return functional.cross_entropy(self.scale * cosine.scatter(1, label[:, None], harder), label)


def supervised_contrastive(embedding: Tensor, label: Tensor, *, temperature: float = 0.1) -> Tensor:
    """The supervised contrastive loss (Khosla et al. 2020, arXiv:2004.11362, equation 2).

    Args:
        embedding: (N, D), of any length.
        label: (N,) class numbers.
        temperature: what cosines are divided by.

    Returns:
        The mean over the images that have another of their class in the batch; 0 where none has.
    """
    unit = functional.normalize(embedding.float())
    own = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    cosines = (unit @ unit.T / temperature).masked_fill(own, -torch.inf)
    positive = (label[:, None] == label[None]) & ~own
    count = positive.sum(dim=1)
    found = functional.log_softmax(cosines, dim=1).masked_fill(~positive, 0).sum(dim=1) / count.clamp_min(1)
    return -found.sum() / (count > 0).sum().clamp_min(1)
