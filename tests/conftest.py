"""Where the real data lies, and the promise that CI has it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# CI asks the same questions every time, so that a red run can be repeated; elsewhere new ones are made up.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("here", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "here")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real test data: ``PHENOSTREAM_TEST_DATA`` or ``../shared/data`` beside the project."""
    folder = Path(os.environ.get("PHENOSTREAM_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"CI must have the real test data, but {folder} is not there")
        pytest.skip(f"real test data is not at {folder}; set PHENOSTREAM_TEST_DATA to run this test")
    return folder
