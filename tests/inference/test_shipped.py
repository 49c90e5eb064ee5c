"""Every package in the wheel sits the exam."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from phenostream import inference
from phenostream.inference.shelves import SHIPPED
from phenostream.testing.packages import PackageExam

FOLDERS = sorted(path.parent for path in SHIPPED.glob("*/rdf.yaml"))


class TestShipped(PackageExam):
    """A copy, since the exam breaks files."""

    @pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
    def package(self, request: pytest.FixtureRequest, tmp_path: Path) -> inference.Package:
        shutil.copytree(request.param, tmp_path / request.param.name)
        return inference.open_package(tmp_path / request.param.name)


def test_what_is_shipped_is_found_by_its_name() -> None:
    for folder in FOLDERS:
        assert inference.find(folder.name).name == folder.name == inference.find(folder).name
