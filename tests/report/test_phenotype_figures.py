"""Figures of phenotype results as pictures, and the numbers behind them as tables."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from phenostream.report import Settings
from phenostream.report.contents import look
from phenostream.report.figures import draw

NAMES = ("f1", "confusion_1", "precision_recall_1", "ranks_1")


@pytest.fixture
def drawn(run, results, tmp_path):
    path = tmp_path / "phenotypes.json"
    path.write_text(json.dumps(results))
    draw(look(run, Settings(), path), tmp_path / "figures")
    return tmp_path / "figures"


def table(path):
    header, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
    return header, rows


def test_every_figure_is_there_with_its_numbers(drawn, results):
    split = results["models"][0]["splits"][0]
    for name in NAMES:
        assert np.unique(np.asarray(Image.open(drawn / f"phenotypes_{name}.png").convert("L"))).size > 10
        assert ET.parse(drawn / f"phenotypes_{name}.svg").getroot().tag.endswith("svg")
    header, rows = table(drawn / "phenotypes_confusion_1.csv")
    assert header[1:] == results["classes"]
    assert [[int(one) for one in row[1:]] for row in rows] == split["confusion"]
    _, rows = table(drawn / "phenotypes_f1.csv")
    assert [float(row[1]) for row in rows] == [one["f1"] for one in split["per_class"]]
    _, rows = table(drawn / "phenotypes_ranks_1.csv")
    for row, counts in zip(rows, split["ranks"], strict=True):
        np.testing.assert_allclose([float(one) for one in row[1:]], np.array(counts) / sum(counts))
    _, rows = table(drawn / "phenotypes_precision_recall_1.csv")
    assert {row[0] for row in rows} == set(results["classes"])
    assert all(0 <= float(one) <= 1 for row in rows for one in row[1:])
