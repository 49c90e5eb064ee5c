"""The folder is the registry, and other packages may add to it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import BaseModel

from phenostream import measure
from phenostream.errors import RecipeError
from phenostream.features import registry, warm
from phenostream.features.settings import PUBLISHED
from phenostream.values import Column, plugs


def test_the_folder_is_the_registry():
    assert set(PUBLISHED) < set(registry.names())
    assert {"colocalization", "radial_zernike", "skeleton"} <= set(registry.names())
    with pytest.raises(RecipeError, match="name one of: colocalization"):
        registry.family("nothing")


def test_a_family_from_outside(monkeypatch):
    class Settings(BaseModel):
        factor: float = 2.0

    outside = SimpleNamespace(
        Settings=Settings,
        VERSION=1,
        columns=lambda settings, channels: [Column("Custom_Size", family="Custom")],
        compute=lambda scene, settings: settings.factor * scene.areas[:, None].astype(float),
    )
    entry = SimpleNamespace(name="custom", load=lambda: outside)
    monkeypatch.setattr(plugs, "entry_points", lambda group: [entry])
    registry.family.cache_clear()
    labels = np.array([[1, 1, 0], [0, 2, 0]])
    table = measure(np.zeros((2, 3), np.uint8), labels, families=["custom"])
    registry.family.cache_clear()
    assert table["Nuclei_Custom_Size"].to_pylist() == [4.0, 2.0]


def test_every_family_has_a_version():
    assert all(registry.family(name).VERSION >= 1 for name in registry.names())


def test_warming_up():
    warm()
