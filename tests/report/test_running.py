"""A run leaves its report, unless it was stopped or told not to."""

from __future__ import annotations

import dataclasses

import pytest

from phenostream import report, stream


@pytest.fixture
def told(folder, monkeypatch):
    """`stream.run` replaced by one that hands back a finished folder."""
    folder.add(cells=2)
    done = stream.RunResult(folder.path, 1, 1, 0, 0, 0, 2, 0.1, 0)
    answers = {"result": done}
    monkeypatch.setattr(stream, "run", lambda recipe, out, **options: answers["result"], raising=False)
    answers["done"] = done
    return answers


def test_the_report_is_written(told, folder):
    assert report.run({}, folder.path) == told["done"]
    assert (folder.path / "report.html").is_file()


def test_none_after_an_interruption_or_on_request(told, folder):
    report.run({}, folder.path, report=False)
    told["result"] = dataclasses.replace(told["done"], interrupted=True)
    report.run({}, folder.path)
    assert not (folder.path / "report.html").exists()
