"""Means over the pixels of an image that come out of ONNX Runtime as they come out of PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def over_grid(image: Tensor, *, keepdim: bool = False) -> Tensor:
    """(N, C, Y, X) to the mean of each channel, (N, C), or (N, C, 1, 1) where `keepdim`.

    Along rows first: over both axes at once ONNX Runtime adds up one by one in single precision, and is wrong by
    thousandths of the mean where images are large.
    """
    return image.mean(3, keepdim=keepdim).mean(2, keepdim=keepdim)
