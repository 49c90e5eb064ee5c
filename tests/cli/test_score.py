"""The command `score`: a table for people, one JSON value for scripts, and named refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from phenostream.cli.score import EPILOG, score
from phenostream.errors import RecipeError
from phenostream.values import Column, with_columns

APP = typer.Typer()
APP.command(epilog=EPILOG)(score)


@pytest.fixture
def sites(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    rows = [
        {
            "Metadata_Experiment": f"E{e}", "Metadata_Plate": f"E{e}_1", "Metadata_Well": f"B{w:02d}",
            "Metadata_Sirna_Id": w, "Metadata_Well_Type": "treatment" if w < 4 else "negative_control",
            **{f"LogProbability_{k}": -1.0 - 2 * abs(k - w) for k in range(4)},
            **{f"screen_{k}": float(w == k) + 0.1 * rng.normal() for k in range(4)},
        }
        for e in range(3) for w in range(8)
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows)
    told = [Column(n, "qc", family="LogProbability") for n in table.column_names if n.startswith("LogP")]
    told += [Column(n, "feature") for n in table.column_names if n.startswith("screen")]
    pq.write_table(with_columns(table, told), tmp_path / "sites.parquet")
    return tmp_path / "sites.parquet"


def test_json_is_one_value(sites: Path) -> None:
    found = CliRunner().invoke(APP, [str(sites), "--json", "--set", "draws=20", "--set", "null=100"])
    told = json.loads(found.stdout)
    assert told["accuracy"]["site"]["top1"]["value"] == 1.0
    assert told["accuracy"]["baselines"]["chance"]["value"] == 0.25
    assert told["screen"]["seen_is_told"] is False


def test_a_person_sees_baselines_beside_the_model(sites: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phenostream.cli.score.console.width", 200)
    found = CliRunner().invoke(APP, [str(sites), "--set", "draws=20", "--set", "null=100"])
    assert found.exit_code == 0
    assert "12 sites of 12 wells" in found.stdout
    assert "chance" in found.stdout
    assert "retrieval mAP" in found.stdout


def test_what_cannot_be_judged_is_said(sites: Path) -> None:
    table = pq.read_table(sites)
    given = table["Metadata_Sirna_Id"].to_pylist()
    changed = [None if one == 0 and row < 8 else 9 if one == 1 else one for row, one in enumerate(given)]
    place = table.column_names.index("Metadata_Sirna_Id")
    table = table.set_column(place, "Metadata_Sirna_Id", pa.array(changed, pa.int64()))
    reason = pa.array([None] * 23 + ["damaged"], pa.string())
    pq.write_table(table.append_column("Metadata_Left_Out", reason), sites)
    found = CliRunner().invoke(APP, [str(sites), "--set", "draws=0", "--set", "null=100"])
    assert "11 sites of 11 wells" in found.stdout
    assert "1 sites without a label are not judged" in found.stdout
    assert "3 sites are of classes that were not learnt: called wrong" in found.stdout
    assert "1 sites have no numbers: 1 damaged" in found.stdout


def test_bad_settings_are_named(sites: Path) -> None:
    with pytest.raises(RecipeError, match="draws"):
        CliRunner().invoke(APP, [str(sites), "--set", "draws=-1"], catch_exceptions=False)
    with pytest.raises(RecipeError, match="write it as key=value"):
        CliRunner().invoke(APP, [str(sites), "--set", "draws"], catch_exceptions=False)
    assert CliRunner().invoke(APP, [str(sites), "--pack", "p"]).exit_code == 2
