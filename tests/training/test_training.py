"""The room as a whole: light to import, and honest about what it needs."""

from __future__ import annotations

import subprocess
import sys

WITHOUT = """
import sys
sys.modules["torch"] = None
from phenostream import errors, training
assert training.FitSettings(epochs=3).epochs == 3
for name in ("fit", "train", "to_onnx"):
    try:
        getattr(training, name)
    except errors.MissingExtraError as error:
        assert error.remedy == 'pip install "phenostream[train]"', error.remedy
    else:
        raise SystemExit(f"{name} came without torch")
"""


def run(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)


def test_the_room_opens_without_torch() -> None:
    told = run("import sys, phenostream.training as t; t.Recipe; t.schema; sys.exit('torch' in sys.modules)")
    assert told.returncode == 0, told.stderr


def test_without_torch_the_extra_is_named() -> None:
    told = run(WITHOUT)
    assert told.returncode == 0, told.stderr


def test_an_unknown_name_is_an_attribute_error() -> None:
    told = run("import phenostream.training as t; t.nothing")
    assert "AttributeError: module 'phenostream.training' has no attribute 'nothing'" in told.stderr
