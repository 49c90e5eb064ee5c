"""The commands ``phenotypes`` as a script meets them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from phenostream.cli.phenotypes import app
from phenostream.profiles.tables import Held, write_table
from phenostream.values import Column, with_columns

RUNNER = CliRunner()


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    label = np.arange(120) % 2
    made = pa.table({
        "CellId": [f"c{one}" for one in range(120)],
        "Metadata_Plate": ["P"] * 120,
        "Metadata_Well": [str(one // 10) for one in range(120)],
        "Metadata_Image": [str(one // 5) for one in range(120)],
        "Metadata_Phenotype": np.array(["long", "round"])[label].tolist(),
        **{f"f{one}": label * (one == 0) * 3 + rng.normal(size=120) for one in range(4)},
    })  # fmt: skip
    path = tmp_path / "cells.parquet"
    write_table(Held(with_columns(made, [Column(f"f{one}") for one in range(4)])), path)
    return path


@pytest.mark.parametrize("command", ["run", "train", "apply"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    told = RUNNER.invoke(app, [command, "--help"])
    assert told.exit_code == 0
    assert f"phenostream phenotypes {command}" in told.stdout


def test_train_then_apply(cells: Path, tmp_path: Path) -> None:
    told = RUNNER.invoke(app, ["train", str(cells), "--out", str(tmp_path / "model"), "--json"])
    assert json.loads(told.stdout)["classes"] == ["long", "round"], told.output
    called = ["apply", str(tmp_path / "model"), str(cells), "--out", str(tmp_path / "called.parquet"), "--json"]
    told = json.loads(RUNNER.invoke(app, called).stdout)
    assert told["cells"] == 120
    assert sum(told["called"].values()) == 120
    assert "120 cells in" in RUNNER.invoke(app, called[:-1]).stdout


def test_a_study_of_a_table(cells: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "study.yaml"
    recipe.write_text(f"cells: {cells.name}\nsplits: [well]\nfolds: 3\ndraws: 20\npermutations: 20\n")
    told = RUNNER.invoke(app, ["run", str(recipe), "--out", str(tmp_path / "out"), "--no-report", "--quiet"])
    assert "discriminant, well: weighted F1 0.9" in told.stdout, told.output
    assert (tmp_path / "out" / "phenotypes.json").is_file()
