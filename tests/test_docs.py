"""Guide pages are run: every ``bash`` and ``python`` block, in order, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_a_guide_page_runs_as_it_stands(page: Path, tmp_path: Path, data: Path) -> None:
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    assert blocks, f"{page.name} has nothing to run"
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": tools, "PHENOSTREAM_TEST_DATA": str(data)}
    script = tmp_path / "page.py"
    for language, text in blocks:
        if language == "bash":
            command = ["bash", "-euo", "pipefail", "-c", text]
        else:
            with script.open("a", encoding="utf-8") as file:
                file.write(text)
            command = [sys.executable, "-W", "error::DeprecationWarning:phenostream", str(script)]
        ended = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900, check=False
        )
        assert ended.returncode == 0, f"{page.name}: {text}\n{ended.stdout}\n{ended.stderr}"


def test_pages_link_only_to_what_is_there() -> None:
    link = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
    dead = [
        f"{page.relative_to(ROOT)} -> {target}"
        for page in pages
        for target in link.findall(page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert dead == []
