import re
from pathlib import Path

from phenostream.sources import TransportOptions
from phenostream.sources.catalogs.folder import Settings
from phenostream.sources.presets import PRESETS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "sources.md"


def test_the_page_runs():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    found = {}
    exec(compile("\n".join(blocks), str(PAGE), "exec"), found)
    assert [(field.id.plate, field.id.well) for field in found["fields"]] == [("", "A1"), ("", "B2")]


def test_the_page_names_every_option_and_preset():
    text = PAGE.read_text()
    names = [*TransportOptions.model_fields, *PRESETS, *(set(Settings.model_fields) - {"catalog"})]
    assert [name for name in names if f"`{name}`" not in text] == []
