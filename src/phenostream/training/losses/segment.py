"""How wrong the three maps of a segmentation are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

_NEAR = 4.0  # weight of contacts over that of other pixels


def map_losses(logits: Tensor, target: Tensor, weight: Tensor) -> dict[str, Tensor]:
    """Cross-entropies of foreground, depth and contact, each with soft targets; their sum is to be made small.

    Depth counts five to six times in objects, contact where it is high, and foreground near contacts: they are a small
    share of the pixels, and decide how many objects there are.

    Args:
        logits: (N, 3, Y, X).
        target: (N, 3, Y, X), 0 to 1, as of :func:`phenostream.training.segmentation.targets.targets`.
        weight: (N, Y, X), how much foreground and depth count, as of ``weights`` beside it.

    Returns:
        Scalars by the maps' names.
    """
    each = functional.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
    foreground, contact = target[:, 0], target[:, 2]
    near = 1 + _NEAR * contact
    return {
        "foreground": (each[:, 0] * near * weight).mean(),
        "depth": 2 * (each[:, 1] * (0.2 + foreground) * weight).mean(),
        "contact": (each[:, 2] * (near + 2 * foreground)).mean(),
    }
