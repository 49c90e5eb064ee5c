"""Normalisation from the index is that of the pixels."""

import numpy as np
import pyarrow.compute as pc
import pytest

from phenostream.datasets.loading import normalisation
from phenostream.errors import EmptyError, RecipeError


@pytest.mark.parametrize("by", ["site", "pack", ("plate",), ("experiment", "dataset")])
def test_it_is_that_of_the_pixels(pack, by):
    found = normalisation(pack, by)
    pixels = pack.read(range(len(pack))).astype(np.float64)
    rows = pack.table.to_pylist()
    for site, row in enumerate(rows):
        if by == "site":
            own = [site]
        elif by == "pack":
            own = list(range(len(pack)))
        else:
            own = [k for k, other in enumerate(rows) if all(other[name] == row[name] for name in by)]
        assert found.mean[site] == pytest.approx(pixels[own].mean(axis=(0, 2, 3)), rel=1e-9)
        assert found.std[site] == pytest.approx(pixels[own].std(axis=(0, 2, 3)), rel=1e-6)


def test_only_chosen_sites_count_and_all_are_normalised(pack):
    train = np.flatnonzero(np.array(pack.table["dataset"].to_pylist()) == "train")
    found = normalisation(pack, "pack", sites=pc.field("dataset") == "train")
    assert found.mean[0] == pytest.approx(pack.read(train).mean(axis=(0, 2, 3)))
    assert found.mean.shape == (len(pack), 6)
    with pytest.raises(EmptyError, match="no site that counts"):
        normalisation(pack, ("experiment",), sites=train)
    with pytest.raises(RecipeError, match="no column 'gene'"):
        normalisation(pack, ("gene",))


def test_blank_channels_are_not_divided_by_nothing(pack, tmp_path):
    from phenostream import datasets
    from phenostream.values import Channel, Field, FieldId

    stack = np.zeros((2, 8, 8), np.uint8)
    stack[1] = np.arange(64).reshape(8, 8)
    datasets.pack([Field(FieldId(plate="P", well="A1", site="1"), (Channel("a"), Channel("b")), pixels=lambda: stack)],
                  tmp_path / "pack")  # fmt: skip
    found = normalisation(datasets.open_pack(tmp_path / "pack"))
    assert found.mean[0].tolist() == [0, 31.5]
    assert found.std[0] == pytest.approx([1, np.arange(64).std()])
