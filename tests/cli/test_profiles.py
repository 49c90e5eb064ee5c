"""The commands ``profiles``, as they are typed."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from phenostream.cli.profiles import app
from phenostream.errors import RecipeError
from phenostream.profiles.operating import operation_names


@pytest.fixture
def call():
    """Run a command; its output."""

    def run(*words, ok=True):
        told = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=not ok)
        if ok:
            assert told.exit_code == 0, told.output
            return told.output
        return told.exception

    return run


@pytest.fixture
def cells(tmp_path):
    lines = ["Metadata_Plate,Metadata_Well,Cells_AreaShape_Area,Cells_Texture_Entropy_DNA_3_00_256"]
    lines += [f"P{row % 2},A{row % 3 + 1},{row},{row * row % 7}" for row in range(24)]
    (tmp_path / "cells.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "cells.csv"


def test_one_operation_at_a_time(call, cells, tmp_path):
    told = json.loads(call("import", cells, "--out", tmp_path / "cells.parquet", "--json"))
    assert told["rows"] == 24
    told = json.loads(call(
        "normalise", tmp_path / "cells.parquet", "--out", tmp_path / "n.parquet", "--set", "method=mad",
        "--set", "by=[Metadata_Plate]", "--json",
    ))  # fmt: skip
    assert told["steps"][0]["groups"] == 2
    assert "2 kept" in call("select", tmp_path / "n.parquet", "--out", tmp_path / "s.parquet").replace(
        "kept 2", "2 kept"
    )
    assert "6 rows, 2 features" in call("aggregate", tmp_path / "s.parquet", "--out", tmp_path / "w.parquet")
    call("consensus", tmp_path / "w.parquet", "--out", tmp_path / "c.parquet", "--set", "by=[Metadata_Well]")
    assert pq.read_table(tmp_path / "c.parquet")["Metadata_Replicate_Count"].to_pylist() == [2, 2, 2]
    again = call("normalise", cells, "--out", tmp_path / "again.parquet", "--fitted", tmp_path / "n.parquet.steps")
    assert "groups 2" in again
    one, two = (pq.read_table(tmp_path / name)["Cells_AreaShape_Area"] for name in ("n.parquet", "again.parquet"))
    assert one.equals(two)


def test_every_other_operation_has_its_command(call, cells, tmp_path):
    platemap = tmp_path / "map.csv"
    platemap.write_text("well_position,gene\nA1,g1\nA2,g2\nA3,g3\n")
    call("annotate", cells, "--out", tmp_path / "a.parquet", "--set", f"table={platemap}")
    assert "Metadata_gene" in pq.read_schema(tmp_path / "a.parquet").names
    call("sphere", cells, "--out", tmp_path / "white.parquet", "--set", "shrinkage=0.1")
    rules = "rules={small: {column: Cells_AreaShape_Area, below: 4}}"
    assert "'small': 4" in call("quality", cells, "--out", tmp_path / "q.parquet", "--set", rules)
    points = pa.table({"Metadata_Well": ["A1"], "Location_Center_X": [1.0], "Location_Center_Y": [1.0]})
    pq.write_table(points, tmp_path / "p.parquet")
    call("merge", tmp_path / "p.parquet", "--out", tmp_path / "m.parquet", "--set", f"table={tmp_path / 'p.parquet'}",
         "--set", "by=[Metadata_Well]")  # fmt: skip
    assert pq.read_table(tmp_path / "m.parquet")["Metadata_Match_Distance"].to_pylist() == [0]
    call("compress", cells, "--out", tmp_path / "tame.parquet")
    assert pq.read_table(tmp_path / "tame.parquet").num_rows == 24
    by = "by=[Metadata_Well]"
    call("distinct", tmp_path / "p.parquet", "--out", tmp_path / "one.parquet", "--set", by)
    assert pq.read_table(tmp_path / "one.parquet").num_rows == 1
    call("replicates", cells, "--out", tmp_path / "r.parquet", "--set", by)
    call("tvn", cells, "--out", tmp_path / "t.parquet", "--set", "controls={Metadata_Well: A1}")


def test_a_recipe(call, cells, tmp_path):
    (tmp_path / "r.yaml").write_text(
        "input: {path: cells.csv}\nprofiles:\n  - normalise\n  - aggregate: {method: mean}\n"
    )
    told = json.loads(call("run", tmp_path / "r.yaml", "--out", tmp_path / "w.parquet", "--json"))
    assert told["rows"] == 6
    assert [step["step"] for step in told["steps"]] == ["normalise", "aggregate"]


def test_what_there_is_to_name(call):
    assert "normalise" in json.loads(call("operations", "--json"))
    assert "  method: " in call("operations")
    assert "oneOf" in json.loads(call("operations", "--schema"))["properties"]["profiles"]["items"]


def test_help_shows_examples_and_errors_keep_their_name(call, cells, tmp_path):
    for command in ("run", "import", "operations", *operation_names()):
        assert f"phenostream profiles {command}" in call(command, "--help")
    error = call("normalise", cells, "--out", tmp_path / "n.parquet", "--set", "method", ok=False)
    assert isinstance(error, RecipeError)
    assert "key=value" in str(error)
