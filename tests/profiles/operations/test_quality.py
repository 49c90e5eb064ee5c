"""Cells left out, each with a reason that is counted."""

from __future__ import annotations

import numpy as np
import pytest

from phenostream.errors import NotFoundError, RecipeError
from phenostream.profiles.operating import operate
from phenostream.values import Column, with_columns

AREA = "Nuclei_AreaShape_Area"


def test_debris_is_judged_by_its_own_plate(cells, replaced):
    table = cells()
    plate = np.array([int(one[1]) for one in table["Metadata_Plate"].to_pylist()])
    area = 100.0 * 10.0**plate
    area[[3, 200]] /= 5
    done = operate(replaced(table, **{AREA: area}), "quality")
    assert done.told["rejected"] == {"debris": 2}
    assert done.told["kept"] == done.source.count() == done.table().num_rows == 238
    assert done.rejected.to_pylist() == [{"row": row, "CellId": f"{row:032x}", "reason": "debris"} for row in (3, 200)]


def test_saturation_and_blur_where_the_columns_are(cells):
    table = cells()
    rng = np.random.default_rng(2)
    bright, along, across = np.full(240, 0.5), rng.normal(0.3, 0.1, 240), rng.normal(0.3, 0.1, 240)
    bright[5], along[9], across[9], along[11] = 1.0, 0.9, 0.9, 0.9
    told = []
    for name, values, family in (
        ("Nuclei_Intensity_UpperQuartileIntensity_DNA", bright, "Intensity"),
        ("Nuclei_Texture_Correlation_DNA_3_00_256", along, "Texture"),
        ("Nuclei_Texture_Correlation_DNA_3_02_256", across, "Texture"),
    ):
        table = table.append_column(name, [values])
        told.append(Column(name, "feature", "Nuclei", family, "DNA"))
    done = operate(with_columns(table.drop_columns([AREA]), told), "quality")
    assert done.told["rejected"] == {"saturation": 1, "blur": 1}
    assert done.rejected["row"].to_pylist() == [5, 9]


def test_own_rules_the_first_that_holds_counts(cells, replaced):
    area = np.full(240, 50.0)
    area[:4] = [10, 10, 900, np.nan]
    rules = {
        "small": {"column": AREA, "below": 20},
        "odd": [{"column": AREA, "above": 100}, {"column": "Metadata_Dose", "below": 1}],
        "far": {"column": AREA, "below": 40, "above": 60},
    }
    with pytest.raises(RecipeError, match="rules"):
        operate(cells(), "quality", rules={"small": {"column": AREA}})
    rules["odd"] = [{"column": AREA, "above": 100}, {"column": "Nuclei_AreaShape_Center_X", "above": -1e9}]
    done = operate(replaced(cells(), **{AREA: area}), "quality", rules=rules)
    assert done.told["rejected"] == {"small": 2, "odd": 1, "far": 0}


def test_robust_distances_as_scipy(cells):
    from scipy.stats import median_abs_deviation

    table = cells()
    area = table[AREA].to_numpy()
    plate = np.array(table["Metadata_Plate"].to_pylist())
    away = np.empty(240)
    for one in np.unique(plate):
        own = area[plate == one]
        away[plate == one] = (own - np.median(own)) / (1.4826 * median_abs_deviation(own))
    done = operate(table, "quality", rules={"odd": {"column": AREA, "below": -1.5, "above": 1.5, "unit": "mads"}})
    assert done.rejected["row"].to_pylist() == np.flatnonzero(np.abs(away) > 1.5).tolist()
    assert done.rejected.num_rows > 10


def test_nothing_to_go_by_and_nothing_left(cells):
    with pytest.raises(NotFoundError, match="no column here that a default rule knows"):
        operate(cells().drop_columns([AREA]), "quality")
    with pytest.raises(NotFoundError, match="Nuclei_No"):
        operate(cells(), "quality", rules={"x": {"column": "Nuclei_No", "below": 1}})
    with pytest.raises(RecipeError, match="leave none of 240 cells"):
        operate(cells(), "quality", rules={"x": {"column": AREA, "below": 1e9}})
