"""The page on deep features says what is so."""

from __future__ import annotations

import re
from pathlib import Path

from phenostream.features import CropSettings

PAGE = (Path(__file__).parents[3] / "docs" / "deep_features.md").read_text()


def test_its_example_runs() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(block, "deep_features.md", "exec"), {})


def test_it_names_every_setting_of_crops() -> None:
    for key in CropSettings.model_fields:
        assert f"`{key}`" in PAGE
