"""The commands ``similarity`` as a script meets them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv
from typer.testing import CliRunner

from phenostream.cli.similarity import app
from phenostream.errors import RecipeError
from phenostream.profiles.tables import Held, write_table
from phenostream.values import Column, with_columns

RUNNER = CliRunner()


@pytest.fixture
def wells(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    drug = np.arange(48) % 8
    values = 2 * rng.normal(size=(4, 10))[drug // 2] * (drug > 1)[:, None] + rng.normal(size=(48, 10))
    made = pa.table({
        "Metadata_Compound": [f"d{one}" if one else "DMSO" for one in drug],
        "Metadata_Mechanism": [f"m{one // 2}" if one > 1 else None for one in drug],
        "Metadata_Concentration": ["1"] * 48,
        **{f"f{one}": values[:, one] for one in range(10)},
    })  # fmt: skip
    path = tmp_path / "wells.parquet"
    write_table(Held(with_columns(made, [Column(f"f{one}") for one in range(10)])), path)
    return path


@pytest.mark.parametrize("command", ["activity", "replicating", "mechanisms"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    told = RUNNER.invoke(app, [command, "--help"])
    assert told.exit_code == 0
    assert f"phenostream similarity {command}" in told.stdout


def test_activity_against_controls(wells: Path, tmp_path: Path) -> None:
    words = ["activity", str(wells), "--set", "controls={Metadata_Compound: DMSO}", "--set", "null_size=2000"]
    told = json.loads(RUNNER.invoke(app, [*words, "--out", str(tmp_path / "a.csv"), "--json"]).stdout)
    assert told["groups"] == 7
    assert csv.read_csv(tmp_path / "a.csv").num_rows == 7
    assert "7 groups: mean average precision" in RUNNER.invoke(app, words).stdout


def test_replicating_and_mechanisms(wells: Path, tmp_path: Path) -> None:
    told = json.loads(RUNNER.invoke(app, ["replicating", str(wells), "--by", "Metadata_Compound", "--json"]).stdout)
    assert told["groups"] == 8
    assert "groups are above" in RUNNER.invoke(app, ["replicating", str(wells), "--by", "Metadata_Compound"]).stdout
    words = ["mechanisms", str(wells), "--out", str(tmp_path / "n.csv")]
    assert "NSC 1.000 of 6 treatments" in RUNNER.invoke(app, words).stdout
    assert csv.read_csv(tmp_path / "n.csv").num_rows == 6


def test_a_wrong_setting_is_named(wells: Path) -> None:
    told = RUNNER.invoke(app, ["activity", str(wells), "--set", "near=1"])
    assert isinstance(told.exception, RecipeError)
    assert "near" in str(told.exception)
