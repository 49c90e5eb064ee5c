"""The command ``report``: its options reach the page, and what it cannot do it names."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from phenostream.cli.report import HELP, report
from phenostream.errors import NotFoundError, RecipeError
from phenostream.values import Column, with_columns


@pytest.fixture
def command():
    """The command alone."""
    app = typer.Typer(rich_markup_mode=None)
    app.command(epilog=HELP)(report)
    return lambda *arguments: CliRunner().invoke(app, [str(one) for one in arguments])


@pytest.fixture
def table(tmp_path):
    """120 rows of 12 wells with a control column of an unusual name."""
    rng = np.random.default_rng(0)
    kind = np.array(["plain", "drug"])[np.arange(120) % 2]
    columns = {
        "Metadata_Plate": ["P1"] * 120, "Metadata_Well": [f"A{at % 12 + 1}" for at in range(120)],
        "Metadata_What": kind.tolist(), "Nuclei_A": rng.normal(size=120) + 3 * (kind == "drug"),
        "Nuclei_B": rng.normal(size=120),
    }  # fmt: skip
    told = [Column(name, "feature" if name.startswith("Nuclei") else "metadata") for name in columns]
    path = tmp_path / "t.parquet"
    pq.write_table(with_columns(pa.table(columns), told), path)
    return path


def test_controls_and_figures(command, table, tmp_path):
    options = ["--controls", "Metadata_What=plain", "--group", "Metadata_What", "--embedding", "pca"]
    done = command(table, *options, "--figures", tmp_path / "figures", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    html = (tmp_path / "t.report.html").read_text(encoding="utf-8")
    assert told["report"] == str(tmp_path / "t.report.html")
    assert any(path.endswith("effects_drug.png") for path in told["figures"])
    assert "Metadata_What</code> = plain" in html
    assert "60 sampled rows in 6 wells" in html


def test_what_it_cannot_do_it_names(command, table, tmp_path):
    assert isinstance(command(tmp_path / "none").exception, NotFoundError)
    wrong = command(table, "--embedding", "tsne").exception
    assert isinstance(wrong, RecipeError)
    assert "--embedding" in str(wrong)
