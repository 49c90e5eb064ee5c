"""A recipe from rows of cells to wells: in memory, spooled to disk, and with what an earlier run fitted."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from phenostream.errors import NotFoundError, RecipeError
from phenostream.profiles.recipe import ProfilesRecipe, recipe_schema, run_recipe

RECIPE = """
input: {path: cells.csv}
profiles:
  - quality: {rules: {debris: {column: Nuclei_AreaShape_Area, below: 0}}}
  - normalise: {method: mad, by: [Metadata_Plate], controls: {Metadata_Control: negative}}
  - select: {rules: [missing, variance]}
  - annotate: {table: map.csv, match: {Metadata_Well: well}}
  - aggregate: {carry: [Metadata_gene]}
"""


@pytest.fixture
def place(tmp_path):
    rng = np.random.default_rng(0)
    lines = ["Metadata_Plate,Metadata_Well,Metadata_Control,Nuclei_AreaShape_Area,Nuclei_Texture_Entropy_DNA_3_00_256"]
    lines += [
        f"P{row // 100},{'AB'[row % 2]}0{row % 4 + 1},{'negative' if row % 4 < 2 else 'x'},{rng.normal(50, 20):.4f},"
        f"{rng.normal():.4f}" for row in range(200)
    ]  # fmt: skip
    (tmp_path / "cells.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "map.csv").write_text("well,gene\nA1,g1\nB2,g2\nA3,g3\nB4,g4\n")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


def test_steps_one_after_the_other_and_what_they_told(place):
    ran = run_recipe(place / "recipe.yaml", place / "wells.parquet")
    table = pq.read_table(place / "wells.parquet")
    assert (ran.rows, ran.features) == (table.num_rows, 2) == (8, 2)
    assert table["Metadata_gene"].to_pylist() == ["g1", "g3", "g2", "g4"] * 2
    assert [step["step"] for step in ran.steps] == ["quality", "normalise", "select", "annotate", "aggregate"]
    lost = ran.steps[0]["rejected"]["debris"]
    assert sum(table["Metadata_Object_Count"].to_pylist()) == 200 - lost
    notes = place / "wells.parquet.steps"
    told = json.loads((notes / "steps.json").read_text())
    assert told["recipe"]["profiles"][1]["normalise"]["method"] == "mad"
    assert pq.read_table(notes / "01-quality.rejected.parquet").num_rows == lost
    assert pq.read_table(notes / "02-normalise.fitted.parquet").num_rows == 4
    assert not list(place.glob(".*"))


def test_on_disk_between_steps_it_is_the_same(place):
    run_recipe(place / "recipe.yaml", place / "one.parquet")
    run_recipe(place / "recipe.yaml", place / "two.parquet", overrides=["memory=1"])
    assert pq.read_table(place / "one.parquet").equals(pq.read_table(place / "two.parquet"))
    assert not list(place.glob(".*"))


def test_what_was_fitted_is_applied_to_other_rows(place):
    run_recipe(place / "recipe.yaml", place / "one.parquet", overrides=["profiles.0.quality.rules.debris.below=-1e9"])
    lines = (place / "cells.csv").read_text().splitlines()
    (place / "half.csv").write_text("\n".join(lines[:101]) + "\n")
    overrides = ["input.path=half.csv", "profiles.0.quality.rules.debris.below=-1e9"]
    run_recipe(place / "recipe.yaml", place / "half.parquet", overrides=overrides, fitted=place / "one.parquet.steps")
    one, half = pq.read_table(place / "one.parquet"), pq.read_table(place / "half.parquet")
    assert half.equals(one.slice(0, 4))
    before = (place / "one.parquet").read_bytes()
    run_recipe(
        place / "recipe.yaml", place / "one.parquet", overrides=overrides[1:], fitted=place / "one.parquet.steps"
    )
    assert (place / "one.parquet").read_bytes() == before
    with pytest.raises(NotFoundError, match="nothing fitted"):
        run_recipe(place / "recipe.yaml", place / "one.parquet", fitted=place / "none.steps")


def test_a_failed_run_leaves_the_old_table_and_no_scratch(place):
    run_recipe(place / "recipe.yaml", place / "wells.parquet")
    before, notes = (place / "wells.parquet").read_bytes(), (place / "wells.parquet.steps" / "steps.json").read_bytes()
    with pytest.raises(RecipeError, match="does not know"):
        run_recipe(
            place / "recipe.yaml", place / "wells.parquet", overrides=["profiles.3.match={Metadata_Plate: well}"]
        )
    assert (place / "wells.parquet").read_bytes() == before
    assert (place / "wells.parquet.steps" / "steps.json").read_bytes() == notes
    assert not list(place.glob(".*"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "not a mapping"),
        ("input: {path: x}\n", "profiles"),
        ("input: {path: x}\nprofiles: []\n", "profiles"),
        ("input: {path: x}\nprofiles: [nothing]\n", "no operation 'nothing'"),
        ("input: {path: x}\nprofiles: [{normalise: {methods: mad}}]\n", "normalise: methods"),
        ("input: {path: x}\nprofiles: [{normalise: {}, select: {}}]\n", "step 1 names 2 operations"),
        ("input: {path: x}\nprofiles: [{normalise: mad}]\n", "settings are no mapping"),
        ("input: {path: x, kind: y}\nprofiles: [normalise]\n", "input.kind"),
        ("a: [", "not YAML"),
    ],
)
def test_recipes_that_cannot_be(tmp_path, text, message):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(RecipeError, match=message):
        ProfilesRecipe.load(tmp_path / "r.yaml")


def test_overrides_and_places_that_are_not_there(place):
    for override, message in (("x", "key=value"), ("profiles.9.method=mad", "no step 9"), ("memory=much", "memory")):
        with pytest.raises(RecipeError, match=message):
            ProfilesRecipe.load(place / "recipe.yaml", [override])
    with pytest.raises(NotFoundError, match="no recipe"):
        ProfilesRecipe.load(place / "none.yaml")
    with pytest.raises(NotFoundError, match="no folder"):
        run_recipe(place / "recipe.yaml", place / "none" / "x.parquet")


def test_the_schema_names_every_operation():
    items = recipe_schema()["properties"]["profiles"]["items"]["oneOf"]
    assert {one["required"][0] for one in items} >= {
        "normalise", "sphere", "tvn", "select", "aggregate", "consensus", "annotate", "merge", "quality", "distinct",
    }  # fmt: skip


def test_other_parquet_tables_are_read_by_their_names(tmp_path):
    pq.write_table(pa.table({"Metadata_Well": ["A1"] * 3, "Cells_AreaShape_Area": [1.0, 2, 3]}), tmp_path / "p.parquet")
    ran = run_recipe(
        {"input": {"path": str(tmp_path / "p.parquet")}, "profiles": ["normalise"]}, tmp_path / "out.parquet"
    )
    assert ran.features == 1
    np.testing.assert_allclose(pq.read_table(tmp_path / "out.parquet")["Cells_AreaShape_Area"].to_numpy()[1], 0)
