"""A small screen, packed once: four experiments of two cell types, one of each kept for the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from phenostream import datasets
from phenostream.synthetic.screen import ScreenDesign, fields

DESIGN = ScreenDesign(
    experiments=("HUVEC-01", "HUVEC-02", "RPE-01", "RPE-02"),
    test_experiments=("HUVEC-02", "RPE-02"),
    perturbations=4,
    positives=1,
    negatives=1,
    shape=(32, 40),
    missing=0.0,
)


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classification")
    datasets.pack(fields(DESIGN), folder)
    return folder


@pytest.fixture
def pack(packed: Path) -> datasets.Pack:
    return datasets.open_pack(packed)
