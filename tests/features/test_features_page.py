"""The page about features names every column, and its code runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from phenostream.features.registry import family, names

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "features.md").read_text(encoding="utf-8")
WIDEST = {"size_shape": {"moments": True}, "intensity": {"location": True}}


@pytest.mark.parametrize("name", names())
def test_every_column_is_explained(name):
    module = family(name)
    columns = module.columns(module.Settings.model_validate(WIDEST.get(name, {})), ("A", "B"))
    section = PAGE.split(f"### `{name}`")[1].split("\n## ")[0].split("\n### ")[0]
    words = {word for column in columns for word in re.findall(r"[A-Z][A-Za-z0-9]{3,}", column.name)}
    places = {"Minimum", "Maximum"}
    missing = [word for word in words - places if word not in section and word.removesuffix("Edge") not in section]
    assert missing == []


def test_every_setting_is_described():
    for name in names():
        for setting, field in family(name).Settings.model_fields.items():
            assert field.description, (name, setting)


def test_the_code_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    room = {}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        exec(compile(block, "features.md", "exec"), room)  # the page is ours
