"""A small screen, packed once."""

from __future__ import annotations

from pathlib import Path

import pytest

from phenostream import datasets
from phenostream.synthetic.screen import ScreenDesign, fields

DESIGN = ScreenDesign(
    experiments=("HUVEC-01", "RPE-01", "U2OS-01"),
    test_experiments=("RPE-01",),
    perturbations=6,
    shape=(24, 32),
    missing=0.1,
)


@pytest.fixture(scope="session")
def design() -> ScreenDesign:
    return DESIGN


@pytest.fixture(scope="session")
def sites() -> tuple:
    return fields(DESIGN)


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory, sites: tuple) -> Path:
    """A pack that tests only read."""
    folder = tmp_path_factory.mktemp("packed")
    datasets.pack(sites, folder)
    return folder


@pytest.fixture
def pack(packed: Path) -> datasets.Pack:
    return datasets.open_pack(packed)
