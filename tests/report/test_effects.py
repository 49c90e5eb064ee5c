"""Effect sizes against SciPy and scikit-learn, and what is not compared."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import median_abs_deviation
from sklearn.metrics import roc_auc_score

from phenostream.report.design import Settings
from phenostream.report.effects import effects, robust_effect, superiority
from phenostream.report.rows import ParquetRows
from phenostream.report.survey import survey
from phenostream.values import Column, with_columns


def test_robust_effect_is_scipys_median_and_deviation():
    rng = np.random.default_rng(0)
    treated, control = rng.gamma(2, size=(301, 6)) + np.arange(6), rng.gamma(2, size=(200, 6))
    control[::17, 2] = np.nan
    expected = (np.median(treated, axis=0) - np.nanmedian(control, axis=0)) / median_abs_deviation(
        control, axis=0, scale="normal", nan_policy="omit"
    )
    np.testing.assert_allclose(robust_effect(treated, control), expected, rtol=1e-7)


def test_no_effect_in_units_of_nothing():
    control = np.array([[0.0, np.nan], [0.0, np.nan], [0.0, np.nan], [1e-15, np.nan], [5.0, np.nan]])
    assert np.isnan(robust_effect(np.ones((4, 2)), control)).all()


@pytest.mark.parametrize("seed", range(5))
def test_superiority_is_the_area_under_the_roc_curve(seed):
    rng = np.random.default_rng(seed)
    treated, control = rng.integers(0, 9, 50) + 1.0, rng.integers(0, 9, 80) + 0.0  # many ties
    expected = roc_auc_score([1] * 50 + [0] * 80, np.concatenate([treated, control]))
    assert superiority(treated, control) == pytest.approx(expected, abs=1e-12)
    assert np.isnan(superiority(np.array([np.nan]), control))


@pytest.fixture
def found(tmp_path):
    """480 cells in 48 wells: dose 10 moves the first feature, dose 1 nothing, dose 99 is one well of five cells."""
    rng = np.random.default_rng(1)
    wells = np.arange(480) // 10
    dose = np.array(["0", "1", "10"])[wells % 3].astype(object)
    dose[475:] = "99"
    columns = {
        "Metadata_Plate": ["P"] * 480, "Metadata_Well": [f"{'ABCD'[w // 12]}{w % 12 + 1}" for w in wells],
        "Metadata_Dose": dose, "Metadata_Control": np.where(dose == "0", "negcon", "treated"),
        "Nuclei_Moved": rng.normal(size=480) + 4 * (dose == "10"), "Nuclei_Same": rng.normal(size=480),
        "Nuclei_Flat": np.zeros(480), "Nuclei_X": 1000.0 * (dose == "10") + rng.normal(size=480),
    }  # fmt: skip
    roles = {name: "feature" if name.startswith("Nuclei") else "metadata" for name in columns}
    told = [Column(name, role, positional=name == "Nuclei_X") for name, role in roles.items()]
    import pyarrow.parquet as pq

    pq.write_table(with_columns(pa.table({k: list(v) for k, v in columns.items()}), told), tmp_path / "t.parquet")
    return survey(ParquetRows.of(tmp_path / "t.parquet"), Settings())


def test_the_group_that_moved_comes_first(found):
    told = effects(found)
    assert (found.design.controls, found.design.control_values, found.design.group) == (
        "Metadata_Control", ("negcon",), "Metadata_Dose",
    )  # fmt: skip
    first = told.groups[0]
    assert (first.name, first.effects[0].column.name) == ("10", "Nuclei_Moved")
    assert 3 < first.effects[0].size < 5
    assert first.effects[0].auc > 0.98
    assert first.effects[0].agree == first.effects[0].wells == first.wells == 16
    assert told.small == ["99"]
    assert told.flat == 1
    assert "Nuclei_X" not in {one.column.name for group in told.groups for one in group.effects}


def test_without_controls_nothing_is_compared(found):
    found.design = found.design.__class__(group="Metadata_Dose")
    assert effects(found) is None
