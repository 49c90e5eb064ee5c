"""Colocalisation against cp_measure object by object, and CellProfiler's own habit of ranking over the field."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from cp_measure.bulk import get_correlation_measurements
from cp_measure.core.measurecolocalization import get_correlation_overlap

from phenostream import measure
from phenostream.features import MeasureSettings

THEIRS = {"Correlation_Correlation_A_B": "Correlation_Pearson", "Correlation_Overlap_A_B": "Correlation_Overlap"}
for _name in ("K", "Manders", "RWC", "Costes"):
    THEIRS |= {
        f"Correlation_{_name}_A_B": f"Correlation_{_name}_1",
        f"Correlation_{_name}_B_A": f"Correlation_{_name}_2",
    }


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(5)
    labels = np.kron(np.arange(1, 13).reshape(3, 4), np.ones((14, 17))).astype(np.int32)
    labels[::14] = 0
    shared = rng.integers(10, 160, labels.shape)
    one = shared + rng.integers(0, 90, labels.shape)
    other = shared * rng.uniform(0.2, 0.9, 13)[labels] + rng.integers(0, 60, labels.shape)
    return np.stack([one, other]).astype(np.uint8), labels


def ours(pair, **parameters):
    chosen = MeasureSettings(families=("colocalization",), parameters={"colocalization": parameters})
    table = measure(*pair, ["A", "B"], settings=chosen)
    return {name.removeprefix("Nuclei_"): table[name].to_numpy() for name in table.column_names[1:]}


@pytest.mark.parametrize("mode", ["faster", "fast", "accurate"])
def test_same_numbers(pair, mode):
    images, labels = pair
    one, other = (image / 255 for image in images)
    theirs = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, ask in get_correlation_measurements(sanitize=False).items():
            options = {"scale_max": 255, "fast_costes": mode.capitalize()} if name == "costes" else {}
            theirs |= ask(one.astype(float), other.astype(float), labels, **options)
        theirs |= get_correlation_overlap(one.astype(float), other.astype(float), labels)
    found = ours(pair, over="object", costes=mode)
    assert found.keys() == THEIRS.keys()
    for name, key in THEIRS.items():
        assert np.allclose(found[name], theirs[key], rtol=1e-9, equal_nan=True), name


def test_a_copy_goes_together(pair):
    images, labels = pair
    found = ours((np.stack([images[0], images[0]]), labels))
    assert np.allclose(found["Correlation_Correlation_A_B"], 1)
    assert np.allclose(found["Correlation_Manders_A_B"], 1)
    assert np.allclose(found["Correlation_RWC_B_A"], 1)


def test_ranks_over_the_field(pair):
    apart, together = ours(pair, over="object"), ours(pair)
    assert np.array_equal(apart["Correlation_Manders_A_B"], together["Correlation_Manders_A_B"])
    assert not np.allclose(apart["Correlation_RWC_A_B"], together["Correlation_RWC_A_B"])


def test_one_channel_has_no_pair(pair):
    images, labels = pair
    assert measure(images[0], labels, families=["colocalization"]).column_names == ["ObjectNumber"]


def test_a_constant_channel_has_no_correlation(pair):
    images, labels = pair
    found = ours((np.stack([images[0], np.full_like(images[0], 7)]), labels))
    assert np.isnan(found["Correlation_Correlation_A_B"]).all()
    assert np.isnan(found["Correlation_Costes_A_B"]).all()
