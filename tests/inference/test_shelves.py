"""Names are looked up in the wheel, in PHENOSTREAM_MODELS, then among the imported."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from phenostream import inference
from phenostream.errors import ChangedError, NotFoundError
from phenostream.inference import shelves
from phenostream.testing.packages import small_package


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(shelves, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setenv("PHENOSTREAM_MODELS", os.pathsep.join([str(tmp_path / "one"), str(tmp_path / "two")]))
    monkeypatch.setenv("PHENOSTREAM_HOME", str(tmp_path / "home"))
    return tmp_path


def test_the_first_shelf_that_knows_a_name_wins(shelf: Path) -> None:
    for place, seed in (("home/models", 4), ("two", 3), ("one", 2), ("shipped", 1)):
        made = small_package(shelf / place / "small", seed=seed)
        assert inference.find("small").sha256 == made.sha256
    assert inference.names() == {"small": shelf / "shipped" / "small"}


def test_a_folder_is_found_by_its_path(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = small_package(shelf / "somewhere" / "small")
    assert inference.find(made.folder) == made
    monkeypatch.chdir(shelf)
    assert inference.find("somewhere/small").sha256 == made.sha256
    assert inference.find(Path("somewhere") / "small").sha256 == made.sha256


def test_what_is_nowhere_is_named_with_what_there_is(shelf: Path) -> None:
    small_package(shelf / "one" / "small")
    (shelf / "two" / "empty").mkdir(parents=True)
    for name in ("large", "../small", "", "a\0", shelf / "two" / "empty"):
        with pytest.raises(NotFoundError, match="small"):
            inference.find(name)


def test_finding_verifies(shelf: Path) -> None:
    package = small_package(shelf / "one" / "small")
    with (package.folder / "metrics.json").open("a") as file:
        file.write(" ")
    with pytest.raises(ChangedError, match=r"metrics\.json"):
        inference.find("small")


def test_the_users_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PHENOSTREAM_HOME", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert inference.user_folder() == tmp_path / "phenostream" / "models"
