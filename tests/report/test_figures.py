"""Figures and tables as files: there, readable, the same twice, and not to be mistaken for formulas."""

from __future__ import annotations

import csv
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from phenostream.errors import NotFoundError
from phenostream.profiles import read_profiles
from phenostream.report import Settings
from phenostream.report.contents import look
from phenostream.report.figures import _plain, draw


@pytest.fixture(scope="module")
def contents(run):
    return look(run, Settings())


@pytest.fixture(scope="module")
def drawn(contents, tmp_path_factory):
    """A folder of everything, and nothing that was not said to be written."""
    folder = tmp_path_factory.mktemp("drawn") / "figures"
    assert sorted(draw(contents, folder)) == sorted(folder.iterdir())
    return folder


def test_pictures_and_tables(drawn, run):
    paths = list(drawn.iterdir())
    names = {path.name for path in paths}
    assert {"plate_Cells_per_well.png", "plate_Mean_intensity_DNA.svg", "cells.png", "effects_10.svg"} <= names
    for path in paths:
        if path.suffix == ".png":
            assert np.unique(np.asarray(Image.open(path).convert("L"))).size > 10
        elif path.suffix == ".svg":
            assert ET.parse(path).getroot().tag.endswith("svg")
    rows = list(csv.DictReader((drawn / "wells.csv").read_text(encoding="utf-8").splitlines()))
    cells = read_profiles(run)
    assert sum(int(float(row["Cells per well"])) for row in rows) == cells.num_rows
    assert len((drawn / "rejects.csv").read_text(encoding="utf-8").splitlines()) == 6


@pytest.mark.slow
def test_the_same_bytes_twice(contents, drawn, tmp_path, monkeypatch):
    monkeypatch.setattr("phenostream.report.figures._MOST_MAPS", 2)
    for path in draw(contents, tmp_path / "figures"):
        assert path.read_bytes() == (drawn / path.name).read_bytes()


def test_no_folder_to_make_it_in(contents, tmp_path):
    with pytest.raises(NotFoundError):
        draw(contents, tmp_path / "no" / "figures")


def test_a_name_that_looks_like_a_formula():
    assert _plain("=cmd()") == "'=cmd()"
    assert _plain("-x") == "'-x"
    assert _plain("-1.5") == "-1.5"
    assert _plain(-1.5) == -1.5
