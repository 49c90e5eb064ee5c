"""Compiled code without a cache folder: slower to start, the same numbers."""

from __future__ import annotations

import subprocess
import sys

import pytest

from phenostream import compiled


def test_without_a_cache_folder(monkeypatch):
    asked = []

    def njit(function, **options):
        asked.append(options)
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return function

    monkeypatch.setattr(compiled, "njit", njit)

    @compiled.kernel
    def double(x):
        return 2 * x

    assert double(4) == 8
    assert [options.get("cache", False) for options in asked] == [True, False]
    assert all(options["nogil"] for options in asked)


def test_importing_the_room_does_not_import_the_compiler():
    code = "import sys, phenostream.features; from phenostream.features import MeasureSettings; MeasureSettings(); "
    code += "sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_a_cache_folder_that_cannot_be_used(tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("not a folder")
    code = (
        "import numpy as np; from phenostream import measure; "
        "labels = np.zeros((40, 40), np.int32); labels[5:30, 5:30] = 1; "
        "assert measure(labels.astype(np.uint8), labels, families=['feret']).num_rows == 1"
    )
    environment = {"NUMBA_CACHE_DIR": str(blocked), "PATH": "/usr/bin:/bin", "HOME": str(blocked)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
