"""The same numbers as pycytominer's own functions: from a stored table always, from pycytominer itself where it is.

Set ``PHENOSTREAM_PYCYTOMINER`` to a Python that has pycytominer 1.7 to run it beside.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from phenostream.profiles.operating import operate
from phenostream.values import Column, with_columns

HERE = Path(__file__).parents[1]
CONTROLS = {"Metadata_Control": "negative"}
METHODS = {"standardize": "standard", "robustize": "robust", "mad_robustize": "mad"}


def features_of(columns):
    return [name for name in columns if name.startswith("Cells_")]


def table_of(columns):
    arrays = {name: pa.array(values, pa.float64() if name in features_of(columns) else None)
              for name, values in columns.items()}  # fmt: skip
    return with_columns(pa.table(arrays), [Column(name) for name in features_of(columns)])


def witness(source, target):
    python = os.environ.get("PHENOSTREAM_PYCYTOMINER", "")
    if not python:
        pytest.skip("PHENOSTREAM_PYCYTOMINER does not name a Python that has pycytominer")
    subprocess.run([python, str(HERE / "pycytominer_witness.py"), str(source), str(target)], check=True, timeout=250)
    return json.loads(target.read_text())


def larger():
    """600 rows of another mixture, with what the stored table has: holes, a constant, steps, near copies."""
    rng = np.random.default_rng(11)
    rows = 600
    base = rng.gamma(2.0, size=(rows, 6))
    plate = np.arange(rows) * 4 // rows
    columns = {
        "Metadata_Plate": [f"P{number}" for number in plate],
        "Metadata_Well": [("A1", "A2", "B1", "B2")[row % 4] for row in range(rows)],
        "Metadata_Control": ["negative" if row % 4 < 2 else "compound" for row in range(rows)],
        "Metadata_Compound": [f"c{row % 7}" for row in range(rows)],
        "Metadata_Row": list(range(rows)),
    }
    features = {f"Cells_F{place}": base[:, place] * 10.0**place + plate for place in range(6)}
    features["Cells_Copy"] = 3 * base[:, 0] + 0.1 * rng.normal(size=rows)
    features["Cells_Other"] = 3 * base[:, 0] + 0.2 * rng.normal(size=rows)
    features["Cells_Constant"] = np.full(rows, 0.3)
    features["Cells_Steps"] = (rng.random(rows) < 0.02).astype(float)
    features["Cells_Holes"] = np.where(rng.random(rows) < 0.2, np.nan, base[:, 3])
    return columns | {
        name: [None if np.isnan(value) else float(value) for value in values] for name, values in features.items()
    }


@pytest.fixture(scope="module", params=["stored", "beside"])
def told(request, tmp_path_factory):
    """A table, and what pycytominer made of it."""
    if request.param == "stored":
        stored = json.loads((HERE / "pycytominer.json").read_text())
        return stored["table"], stored["told"]
    folder = tmp_path_factory.mktemp("witness")
    columns = larger()
    (folder / "table.json").write_text(json.dumps(columns))
    return columns, witness(folder / "table.json", folder / "out.json")


def equal(found, expected, *, tolerance=1e-9):
    for name, values in expected.items():
        wanted = np.array([np.nan if value is None else value for value in values], float)
        np.testing.assert_allclose(
            found.column(name).to_numpy().astype(float), wanted, rtol=tolerance, atol=tolerance, err_msg=name
        )


def full(columns):
    """Rows without holes."""
    rows = [row for row in range(len(columns["Metadata_Row"]))
            if all(columns[name][row] is not None for name in features_of(columns))]  # fmt: skip
    return {name: [values[row] for row in rows] for name, values in columns.items()}


@pytest.mark.parametrize("word", ["all", "controls"])
@pytest.mark.parametrize("method", METHODS)
def test_normalise(told, method, word):
    columns, expected = told
    found = operate(
        table_of(columns), "normalise", method=METHODS[method], controls=CONTROLS if word == "controls" else {},
        spreadless="keep",
    )  # fmt: skip
    equal(found.table(), expected["tables"][f"{method}-{word}"])


def test_normalise_plate_by_plate(told):
    columns, expected = told
    found = operate(
        table_of(columns), "normalise", method="mad", by=["Metadata_Plate"], controls=CONTROLS, spreadless="keep"
    )
    equal(found.table(), expected["tables"]["mad_robustize-by-plate"])


@pytest.mark.parametrize("word", ["all", "controls"])
@pytest.mark.parametrize("method", ["ZCA", "ZCA-cor", "PCA", "PCA-cor"])
def test_sphere(told, method, word):
    columns, expected = told
    varied = tuple(expected["varied"])
    found = operate(
        table_of(full(columns)), "sphere", method=method, features=varied,
        controls=CONTROLS if word == "controls" else {},
    ).table()  # fmt: skip
    wanted = expected["tables"][f"{method}-{word}"]
    if method.startswith("PCA"):
        # Nothing determines the sign of a component: each is compared up to it.
        for name in wanted:
            values, own = np.array(wanted[name], float), found.column(name).to_numpy()
            np.testing.assert_allclose(own * np.sign(own @ values), values, rtol=1e-7, atol=1e-7)
    else:
        equal(found, wanted, tolerance=1e-7)


RULES = {
    "variance": {},
    "frequency": {"frequency": 0.2, "unique": 0.05},
    "correlation": {},
    "correlation-controls": {"controls": CONTROLS, "correlation": 0.6},
    "correlation-spearman": {"correlation_method": "spearman", "correlation": 0.7},
    "missing": {},
    "outlier": {"outlier": 20},
    "noise": {"noise_by": ["Metadata_Compound"], "noise": 1.5},
    "all": {"rules": ["missing", "variance", "correlation", "outlier"], "outlier": 20},
}


@pytest.mark.parametrize("rule", RULES)
def test_select(told, rule):
    columns, expected = told
    settings = {"rules": [rule.split("-")[0]], **RULES[rule]}
    found = operate(table_of(columns), "select", **settings)
    left_out = [name for name in features_of(columns) if name not in found.source.schema().names]
    assert left_out == expected["left_out"][rule]
    assert len(left_out) > 0


@pytest.mark.parametrize("method", ["mean", "median"])
def test_aggregate(told, method):
    columns, expected = told
    found = operate(table_of(columns), "aggregate", method=method).table()
    wanted = expected["tables"][f"aggregate-{method}"]
    for name in ("Metadata_Plate", "Metadata_Well", "Metadata_Object_Count"):
        assert found.column(name).to_pylist() == wanted[name]
    equal(found, {name: wanted[name] for name in features_of(columns)})


@pytest.mark.parametrize("method", ["mean", "median", "modz"])
def test_consensus(told, method):
    columns, expected = told
    rows = full(columns) if method == "modz" else columns
    found = operate(table_of(rows), "consensus", by=["Metadata_Compound"], method=method).table()
    wanted = expected["tables"][f"consensus-{method}"]
    assert found.column("Metadata_Compound").to_pylist() == wanted["Metadata_Compound"]
    equal(found, {name: wanted[name] for name in features_of(columns)})


def test_annotate(told):
    columns, expected = told
    platemap = pa.table({"well_position": ["A1", "A2", "B1", "B2"], "gene": ["g1", "g2", "g3", "g4"]})
    found = operate(table_of(columns), "annotate", table=platemap).table()
    for name, values in expected["tables"]["annotate"].items():
        assert found.column(name).to_pylist() == values
