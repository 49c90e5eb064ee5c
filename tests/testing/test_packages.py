"""The exam of packages asks what it says, and the hostile ones are refused unloaded."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from phenostream import inference
from phenostream.errors import PhenostreamError
from phenostream.inference import sessions
from phenostream.testing.hostile_packages import HOSTILE_PACKAGES
from phenostream.testing.packages import PackageExam, small_package


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_package(tmp_path_factory.mktemp("honest") / "small").folder


@pytest.mark.parametrize("name", HOSTILE_PACKAGES)
def test_a_hostile_package_is_refused_before_anything_is_loaded(
    name: str, honest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder" / "package"
    shutil.copytree(honest, folder)
    HOSTILE_PACKAGES[name].turn(folder)
    sessions_opened = []
    monkeypatch.setattr(sessions, "open_session", lambda *_, **__: sessions_opened.append(name))
    with pytest.raises(PhenostreamError) as caught:
        inference.load(folder)
    assert type(caught.value) is HOSTILE_PACKAGES[name].error
    with pytest.raises(PhenostreamError):
        inference.import_package(folder, to=tmp_path / "store")
    assert not (tmp_path / "store" / "small").exists()
    assert sessions_opened == []


class TestFlat(PackageExam):
    """Two channels, no pooling."""

    @pytest.fixture
    def package(self, tmp_path: Path) -> inference.Package:
        return small_package(tmp_path / "flat", channels=2)


class TestDeep(PackageExam):
    """Two poolings: a stride of four, and an output at a quarter of the size."""

    @pytest.fixture
    def package(self, tmp_path: Path) -> inference.Package:
        return small_package(tmp_path / "deep", kernel=3, levels=2)


class TestVolume(PackageExam):
    """Three axes of space, three channels, one pooling."""

    @pytest.fixture
    def package(self, tmp_path: Path) -> inference.Package:
        return small_package(tmp_path / "volume", channels=3, axes="zyx", kernel=3, levels=1)


def test_the_exam_fails_a_halo_that_is_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from phenostream.testing import packages

    honest = packages.network
    monkeypatch.setattr(packages, "network", lambda *args, **named: (honest(*args, **named)[0], 1))
    package = small_package(tmp_path / "liar", kernel=9)
    model, exam = inference.load(package, threads=1), PackageExam()
    for test in (exam.test_tiles_equal_the_whole, exam.test_the_halo_is_true):
        with pytest.raises(AssertionError):
            test(model)
    with pytest.raises(AssertionError):
        exam.test_it_does_what_it_did(package)
