"""Cross-entropy for mixed images and softened labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


def cross_entropy(logits: Tensor, label: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """The mean cross-entropy against labels of which `smoothing` is spread over all classes (Szegedy et al. 2016).

    Args:
        logits: (N, classes).
        label: (N,) class numbers.
        smoothing: share of a label that all classes have in common.
    """
    return functional.cross_entropy(logits.float(), label, label_smoothing=smoothing)


def mixed(loss: Callable[[Tensor], Tensor], label: Tensor, partner: Tensor, share: Tensor | float) -> Tensor:
    """The loss of images that show two classes: ``share loss(label) + (1 - share) loss(partner)`` (CutMix, 2019).

    Args:
        loss: from class numbers (N,) to a mean loss.
        label: (N,) class of each image.
        partner: (N,) class of what was pasted into it.
        share: of an image that is still its own.
    """
    return share * loss(label) + (1 - share) * loss(partner)
