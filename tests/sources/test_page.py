import re
from pathlib import Path

import yaml

from phenostream.sources import TransportOptions, catalogs
from phenostream.sources.catalogs.folder import Settings
from phenostream.sources.presets import PRESETS
from phenostream.training.classification.splits import SplitSettings

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


def test_every_source_of_the_page_of_screens_is_one():
    page = PAGE.with_name("screens.md").read_text()
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    found = [type(catalogs.parse(block["source"])).__module__ for block in blocks if "source" in block]
    assert {name.rpartition(".")[2] for name in found} == {"rxrx", "rxrx3_core", "load_data"}
    kinds = [block["settings"]["split"] for block in blocks if "settings" in block]
    assert [SplitSettings.model_validate(kind).by for kind in kinds] == ["batch"]
