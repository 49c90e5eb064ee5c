"""Activity of tables: the same as the metric, with what is left out counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from phenostream.benchmark.activity import activity, usable
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


def changed(table: pa.Table, name: str, values: dict[int, object]) -> pa.Table:
    """`table` with other values in some rows of one column."""
    place = table.column_names.index(name)
    given = [values.get(row, one) for row, one in enumerate(table.column(name).to_pylist())]
    return table.set_column(place, table.schema.field(place), pa.array(given, table.schema.field(place).type))


@pytest.mark.parametrize("nothing", [None, ""])
def test_wells_that_nobody_annotated_are_no_replicates_of_one_another(nothing: str | None) -> None:
    drugs = WITNESS["drug"]
    lost = {row: nothing for row, drug in enumerate(drugs) if drug in (drugs[6], drugs[7])}
    assert len(lost) == 6
    found = activity(changed(wells(), "Metadata_Drug", lost), **BY, null_size=1000)
    assert found.told["rows_without_annotation"] == 6
    assert {row["Metadata_Drug"] for row in found.groups.to_pylist()} == set(drugs) - {"DMSO", drugs[6], drugs[7]}
    assert not set(lost) & set(found.profiles.column("row").to_pylist())
    # All others score as they would if the rows were not there.
    kept = wells().filter(pa.array([row not in lost for row in range(len(drugs))]))
    assert found.groups.to_pydict() == activity(kept, **BY, null_size=1000).groups.to_pydict()


def test_controls_need_no_annotation_but_a_plate() -> None:
    drugs = WITNESS["drug"]
    control = pa.array(["negative" if drug == "DMSO" else "" for drug in drugs])
    rows = [row for row, drug in enumerate(drugs) if drug == "DMSO"]
    table = changed(described(wells(Metadata_Control=control)), "Metadata_Drug", dict.fromkeys(rows))
    settings = {**BY, "controls": {"Metadata_Control": "negative"}, "null_size": 1000}
    assert activity(table, **settings).groups.to_pydict() == activity(wells(), **BY, null_size=1000).groups.to_pydict()
    told = activity(changed(table, "Metadata_Plate", {rows[0]: None}), **settings).told
    assert told["rows_without_annotation"] == 1


def test_profiles_without_numbers_take_no_feature_with_them() -> None:
    table, features = wells(), [f"Cells_Intensity_F{place}_DNA" for place in range(10)]
    rows = [row for row, drug in enumerate(WITNESS["drug"]) if drug != "DMSO"][:3]
    for place, name in enumerate(features):
        gaps = {rows[0]: None, rows[1]: float("nan")} | ({rows[2]: None} if place < 6 else {})
        table = changed(table, name, gaps)
    told = activity(table, **BY, null_size=1000).told
    assert (told["profiles_empty"], told["profiles_mostly_missing"]) == (2, 1)
    assert (told["features"], told["features_missing"]) == (10, [])
    # A profile that lacks half keeps its place, and the features go; one that takes no part costs none.
    half = wells()
    for name in features[:5]:
        half = changed(half, name, {rows[0]: None})
    assert activity(half, **BY, null_size=1000).told["features_missing"] == features[:5]
    lost = changed(half, "Metadata_Drug", {rows[0]: None})
    assert activity(lost, **BY, null_size=1000).told["features_missing"] == []


def test_profiles_are_not_judged_by_features_that_most_of_them_lack() -> None:
    values = np.random.default_rng(0).normal(size=(20, 10))
    values[1:, :6] = np.nan
    table = pa.table({f"f{place}": values[:, place] for place in range(10)})
    found = usable(table, table.column_names, np.ones(20, bool))
    np.testing.assert_array_equal(found.values, values[:, 6:])
    assert found.rows.all()
    values[1:15] = np.nan
    table = pa.table({f"f{place}": values[:, place] for place in range(10)})
    found = usable(table, table.column_names, np.ones(20, bool))
    np.testing.assert_array_equal(np.flatnonzero(found.rows), [0, *range(15, 20)])
    assert found.told["profiles_empty"] == 14


def test_exact_p_values_are_corrected_beside_those_of_copairs() -> None:
    found = activity(wells(), **BY, null_size=5000).groups
    told = stats.false_discovery_control(found.column("exact_p_value").to_numpy())
    np.testing.assert_allclose(found.column("corrected_exact_p_value").to_numpy(), told)
    np.testing.assert_allclose(
        found.column("corrected_p_value").to_numpy(),
        stats.false_discovery_control(found.column("p_value").to_numpy()),
    )


def test_nothing_to_compare_is_named() -> None:
    table = wells()
    nothing = changed(table, "Metadata_Drug", dict.fromkeys(range(table.num_rows)))
    for found in (lambda: activity(nothing, by=("Metadata_Drug",)), lambda: replicability(nothing, by="Metadata_Drug")):
        with pytest.raises(RecipeError, match="no row takes part"):
            found()
    with pytest.raises(RecipeError, match="no row takes part"):
        activity(table.slice(0, 0), by=("Metadata_Drug",))
    for place in range(10):
        table = changed(table, f"Cells_Intensity_F{place}_DNA", dict.fromkeys(range(table.num_rows)))
    with pytest.raises(RecipeError, match="42 of 42 profiles are empty"):
        replicability(table, by="Metadata_Drug")


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
    lost = replicability(changed(wells(), "Metadata_Drug", {6: None, 7: ""}), by="Metadata_Drug", draws=200)
    assert (lost["rows_without_annotation"], lost["groups"]) == (2, 9)
    lost = replicability(changed(wells(), "Metadata_Plate", {6: None}), by="Metadata_Drug", differ="Metadata_Plate")
    assert lost["rows_without_annotation"] == 1
