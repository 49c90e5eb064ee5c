"""The figures on the MitoCheck crops hold: all labelled cells, fewer features than the study takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sklearn.metrics import f1_score

from phenostream.benchmark.phenotyping import cross_validate
from phenostream.profiles.phenotypes import CropTable, DescribeSettings, describe, labelled, read_crops, splits

if TYPE_CHECKING:
    from pathlib import Path

    from phenostream.profiles.phenotypes import Labelled


@pytest.fixture(scope="module")
def cells(data: Path) -> Labelled:
    pytest.importorskip("onnxruntime")
    folder = data / "mitocheck"
    crops = read_crops(
        CropTable(
            table=folder / "mitocheck_cells_dev.csv",
            images=tuple(folder / f"mitocheck_cells_dev_part{part}.zip" for part in (1, 2)),
            name="{phenotype}/{file}",
            label="phenotype",
            exclude=("Folded",),
        )
    )
    settings = DescribeSettings(
        families=("size_shape", "intensity"), surroundings=(), scattering=False, embedding="cellnet"
    )
    return labelled(describe(crops, settings))


@pytest.mark.slow
@pytest.mark.parametrize(("by", "least"), [("image", 0.80), ("well", 0.76)])
def test_weighted_f1_is_not_below_its_floor(cells: Labelled, by: str, least: float) -> None:
    """Shape, intensity, fragments and embedding, `discriminant`, seven folds that share no image (no well).

    All 2,413 cells of 15 classes take part. Every other family, which takes minutes of one core, is left to the study,
    which reaches 0.88 by image and 0.82 by well; these 281 features reach 0.85 and 0.80.
    """
    assert (len(cells), len(cells.classes)) == (2413, 15)
    for fold in splits(cells, by):
        assert not set(cells.groups[by][fold.train]) & set(cells.groups[by][fold.test])
    found = cross_validate(cells, "discriminant", by=by)
    assert f1_score(cells.truth, found.called, average="weighted") >= least
