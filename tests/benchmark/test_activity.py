"""Activity of tables: the same as the metric, with what is left out counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from phenostream.benchmark.activity import activity
from phenostream.benchmark.replicability import replicability
from phenostream.errors import NotFoundError, RecipeError
from phenostream.profiles.roles import described

WITNESS = json.loads((Path(__file__).parent / "copairs.json").read_text(encoding="utf-8"))
BY = {"by": ("Metadata_Drug",), "controls": {"Metadata_Drug": "DMSO"}, "within": ("Metadata_Plate",)}


def wells(**more: object) -> pa.Table:
    features = np.array(WITNESS["features"])
    columns = {f"Metadata_{name.title()}": pa.array(WITNESS[name]) for name in ("plate", "drug", "target")}
    columns |= {f"Cells_Intensity_F{place}_DNA": pa.array(features[:, place]) for place in range(features.shape[1])}
    return described(pa.table({**columns, **more}))


def test_groups_and_their_false_discovery_rate_are_copairs() -> None:
    found = activity(wells(), **BY, null_size=200_000)
    told = WITNESS["activity"]["cosine"]["groups"]
    rows = {row["Metadata_Drug"]: row for row in found.groups.to_pylist()}
    assert set(rows) == set(told)
    for name, (value, _, corrected) in told.items():
        assert rows[name]["mean_average_precision"] == pytest.approx(value)
        assert rows[name]["corrected_p_value"] == pytest.approx(corrected, rel=0.1)
        assert rows[name]["members"] == 3
        assert rows[name]["active"] == (corrected < 0.05)
    assert found.profiles.num_rows == 24
    assert found.told["groups"] == 8


def test_without_controls_other_groups_are_negatives() -> None:
    found = activity(wells(), by=("Metadata_Target",), apart=("Metadata_Drug",), null_size=1000)
    assert found.profiles.column("total").to_pylist()[0] > 10


def test_what_cannot_be_used_is_counted() -> None:
    gaps = [None, *([1.0] * 41)]
    table = wells(
        Cells_Texture_Gap_DNA=pa.array(gaps, pa.float64()),
        Cells_Texture_Flat_DNA=pa.array([2.0] * 42),
        Cells_Texture_Empty_DNA=pa.array([None] * 42, pa.float64()),
    )
    told = activity(table, **BY, null_size=1000).told
    assert told["features"] == 10
    assert told["features_missing"] == ["Cells_Texture_Gap_DNA", "Cells_Texture_Empty_DNA"]
    assert told["features_constant"] == ["Cells_Texture_Flat_DNA"]


def test_a_drug_with_one_well_is_a_counted_exclusion() -> None:
    drug = list(WITNESS["drug"])
    drug[6] = "lonely"
    table = wells()
    table = table.set_column(1, table.schema.field(1), pa.array(drug))
    assert activity(table, **BY, null_size=1000).told["groups_without_pair"] == 1


def test_a_profile_without_direction_takes_no_part() -> None:
    table = wells()
    for place in range(10):
        values = table.column(f"Cells_Intensity_F{place}_DNA").to_pylist()
        values[6] = 0.0
        table = table.set_column(3 + place, table.schema.field(3 + place), pa.array(values))
    told = activity(table, **BY, null_size=1000)
    assert told.told["profiles_without_direction"] == 1
    assert 6 not in told.profiles.column("row").to_pylist()


def test_bad_requests_are_named() -> None:
    with pytest.raises(NotFoundError, match="Metadata_Gene"):
        activity(wells(), by=("Metadata_Gene",))
    with pytest.raises(NotFoundError, match="no row is a control"):
        activity(wells(), by=("Metadata_Drug",), controls={"Metadata_Drug": "water"})
    with pytest.raises(RecipeError, match="replicate"):
        activity(wells(), by=("Metadata_Drug", "Metadata_Plate"), controls={"Metadata_Drug": "DMSO"})
    flat = pa.table({"Metadata_Drug": ["a", "a"], "Cells_Texture_Flat_DNA": [1.0, 1.0]})
    with pytest.raises(RecipeError, match="no spread"):
        activity(described(flat), by=("Metadata_Drug",))


def test_replicability_of_a_table() -> None:
    told = replicability(wells(), by="Metadata_Drug", draws=200)
    assert told["groups"] == 9
    assert 0 <= told["share"] <= 1
    with pytest.raises(NotFoundError):
        replicability(wells(), by="Metadata_Gene")
