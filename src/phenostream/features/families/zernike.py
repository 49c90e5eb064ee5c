"""Zernike moments of the shape: how an object fills its smallest enclosing circle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from phenostream.features.library import measured
from phenostream.values import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from phenostream.features.scene import Scene

VERSION = 1


class Settings(BaseModel):
    """Up to which degree."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    degree: int = Field(9, ge=0, le=20, description="Largest degree n of the polynomials; CellProfiler uses 9.")


def _orders(settings: Settings) -> list[tuple[int, int]]:
    return [(n, m) for n in range(settings.degree + 1) for m in range(n % 2, n + 1, 2)]


def columns(settings: Settings, channels: Sequence[str]) -> list[Column]:  # noqa: ARG001
    """``AreaShape_Zernike_n_m`` for n up to the degree, m <= n, n - m even."""
    return [Column(f"AreaShape_Zernike_{n}_{m}", family="AreaShape", unit="1") for n, m in _orders(settings)]


def compute(scene: Scene, settings: Settings) -> NDArray[np.float64]:
    """The magnitudes (n, orders)."""
    wanted = [f"Zernike_{n}_{m}" for n, m in _orders(settings)]
    return measured(scene, "zernike", wanted, zernike_numbers=settings.degree)
