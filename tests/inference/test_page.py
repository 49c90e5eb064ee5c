"""The page of this room runs, and tells the caps that the code keeps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from phenostream.inference.limits import DEFAULT

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    found: dict[str, object] = {}
    exec(compile("\n".join(blocks), str(PAGE), "exec"), found)
    assert "tiles" in found


def test_the_page_tells_the_caps() -> None:
    text = PAGE.read_text()
    assert DEFAULT.onnx_bytes == 2**30
    assert "ONNX over 1 GiB" in text
    assert f"deeper than {DEFAULT.depth}" in text
    assert f"over {DEFAULT.description_bytes // 1024} KiB" in text
