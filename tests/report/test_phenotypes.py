"""Phenotype results: read back as written, shown as given, refused where they contradict themselves."""

from __future__ import annotations

import json
import re

import pytest

from phenostream.errors import DamagedError, NotFoundError
from phenostream.report import phenotypes, scores, write
from phenostream.report.phenotypes import Phenotypes


@pytest.fixture
def path(results, tmp_path):
    kept = tmp_path / "phenotypes.json"
    kept.write_text(json.dumps(results))
    return kept


def test_it_comes_back_as_it_was_written(results, path):
    value = phenotypes.read(path)
    assert Phenotypes.model_validate_json(phenotypes.dumps(value)) == value
    assert phenotypes.dumps(value) == phenotypes.dumps(Phenotypes.model_validate(results))


def test_the_page_shows_the_numbers(run, results, path, tmp_path):
    html = write(run, tmp_path / "page.html", phenotypes=path).read_text(encoding="utf-8")
    split = results["models"][0]["splits"][0]
    assert f"<strong>{split['weighted_f1']:.3f}</strong>" in html
    assert f"Anaphase called Apoptosis: {split['confusion'][0][1]} cells" in html
    assert "Folded (44 cells, left out)" in html
    assert 'id="pr-plot"' in html
    assert re.search(r"shuffled labels 0\.250", html)


def test_curves_are_thinned_and_keep_their_ends(results, path):
    one = scores.curves(phenotypes.read(path))[0]["curves"][0]
    given = results["models"][0]["splits"][0]["precision_recall"][0]
    assert len(one["recall"]) == len(one["precision"]) <= 250
    assert (one["recall"][0], one["recall"][-1]) == (given["recall"][0], given["recall"][-1])


def test_ranks_are_shares_that_add_up(path):
    for row in scores.ranks(phenotypes.read(path))[0]["rows"]:
        assert sum(row["shares"]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda told, split: told.update(version=2), "version"),
        (lambda told, split: told.update(classes=["A", "A"]), "named twice"),
        (lambda told, split: split.update(confusion=[[1, 2], [3, 4]]), "confusion is not 4 x 4"),
        (lambda told, split: split.update(ranks=[[1] * 4] * 3), "ranks are not 4 x 4"),
        (lambda told, split: split["per_class"][0].update(name="Nobody"), "Nobody"),
        (lambda told, split: split["per_class"][0].update(f1=1.2), "less than or equal to 1"),
        (lambda told, split: split["precision_recall"][0].update(recall=[0.0]), "recalls"),
        (lambda told, split: told.update(surprise=1), "surprise"),
    ],
)
def test_contradictions_are_named(results, tmp_path, change, word):
    path = tmp_path / "p.json"
    change(results, results["models"][0]["splits"][0])
    path.write_text(json.dumps(results))
    with pytest.raises(DamagedError, match=word):
        phenotypes.read(path)


def test_what_is_no_such_file(tmp_path):
    with pytest.raises(NotFoundError):
        phenotypes.read(tmp_path / "none.json")
    (tmp_path / "p.json").write_text("{")
    with pytest.raises(DamagedError):
        phenotypes.read(tmp_path / "p.json")
