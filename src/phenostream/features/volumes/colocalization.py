"""Colocalisation in three dimensions: the same numbers, as they depend on which voxels an object has and not where."""

from __future__ import annotations

from phenostream.features.families.colocalization import VERSION, Settings, columns, compute

__all__ = ["VERSION", "Settings", "columns", "compute"]
