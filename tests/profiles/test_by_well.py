"""Figures by well against pandas."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from phenostream.profiles import read_profiles, wells

AREA = "Nuclei_AreaShape_Area"


def test_counts_and_means_are_those_of_pandas(folder, make):
    for well, count, time in (("A4", 3, 0), ("A4", 2, 1), ("B1", 4, 0), ("C1", 0, 0)):
        folder.add(make(well, count, time=time), well=well, time=time)
    found = wells(folder.path, [AREA]).to_pandas()
    told = read_profiles(folder.path).to_pandas().groupby(["Metadata_Plate", "Metadata_Well"])[AREA]
    expected = told.agg(["size", "mean"]).reset_index()
    assert found["count"].tolist() == expected["size"].tolist() == [5, 4]
    np.testing.assert_allclose(found[AREA], expected["mean"], rtol=1e-6)


def test_missing_values_do_not_count(folder, make):
    table = make("A1", 4)
    place = table.column_names.index(AREA)
    values = pa.array([1.0, float("nan"), None, 3.0], pa.float32())
    folder.add(table.set_column(place, table.schema.field(place), values))
    folder.add(make("A2", 1, features={"Nuclei_Other": False}), well="A2")
    found = wells(folder.path, [AREA]).to_pylist()
    assert found[0][AREA] == 2
    assert found[1][AREA] is None


def test_without_columns_it_counts(folder, make):
    folder.add(make("A1", 4))
    assert pd.DataFrame(wells(folder.path).to_pylist())["count"].tolist() == [4]
