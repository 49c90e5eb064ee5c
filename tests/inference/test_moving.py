"""Packages come in verified, whole and alone; archives that reach out or blow up do not."""

from __future__ import annotations

import gc
import shutil
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from phenostream import inference
from phenostream.errors import (
    ChangedError,
    DamagedError,
    ExistsError,
    HostileError,
    NotFoundError,
    PhenostreamError,
    RecipeError,
    TooLargeError,
)
from phenostream.testing.packages import small_package


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> inference.Package:
    return small_package(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture
def zipped(package: inference.Package, tmp_path: Path) -> Path:
    return inference.export_package(package, tmp_path / "small.zip")


def test_folders_and_zips_come_in_with_the_same_identity(
    package: inference.Package, zipped: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    first = inference.import_package(package.folder, to=store)
    second = inference.import_package(zipped, to=store, name="other")
    assert first.sha256 == second.sha256 == package.sha256
    assert (first.folder, second.folder) == (store / "small", store / "other")
    assert sorted(path.name for path in store.iterdir()) == ["other", "small"]


def test_only_what_the_description_names_is_copied(package: inference.Package, tmp_path: Path) -> None:
    shutil.copytree(package.folder, tmp_path / "more")
    (tmp_path / "more" / "setup.py").write_text("print('ran')")
    found = inference.import_package(tmp_path / "more", to=tmp_path / "store")
    assert not (found.folder / "setup.py").exists()


def test_a_taken_name_is_kept_unless_replacing_is_asked_for(package: inference.Package, tmp_path: Path) -> None:
    other = small_package(tmp_path / "small", seed=5)
    inference.import_package(package.folder, to=tmp_path / "store")
    with pytest.raises(ExistsError):
        inference.import_package(other.folder, to=tmp_path / "store")
    found = inference.import_package(other.folder, to=tmp_path / "store", replace=True)
    assert found.sha256 == other.sha256
    (tmp_path / "store" / "papers").mkdir()
    with pytest.raises(ExistsError):
        inference.import_package(other.folder, to=tmp_path / "store", name="papers", replace=True)
    with pytest.raises(RecipeError):
        inference.import_package(other.folder, to=tmp_path / "store", name="../out")


def test_the_default_place_is_the_users_folder(
    package: inference.Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHENOSTREAM_HOME", str(tmp_path))
    inference.import_package(package.folder)
    assert inference.find("small").sha256 == package.sha256


def test_a_zip_with_one_top_folder_is_read(zipped: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(zipped) as archive, zipfile.ZipFile(tmp_path / "top.zip", "w") as other:
        for name in archive.namelist():
            other.writestr(f"small-1.0/{name}", archive.read(name))
    assert inference.import_package(tmp_path / "top.zip", to=tmp_path / "store").name == "small"


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_export_is_what_the_official_reader_reads(zipped: Path) -> None:
    from bioimageio.spec import load_description

    found = load_description(zipped, perform_io_checks=True)
    assert found.validation_summary.status in ("valid-format", "passed"), found.validation_summary.format()
    assert found.name == "phenostream small"
    del found
    gc.collect()  # it leaves files open, which must not be told of the next test


def test_an_export_tells_no_time(zipped: Path) -> None:
    with zipfile.ZipFile(zipped) as archive:
        assert archive.testzip() is None
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_an_altered_package_is_not_exported(tmp_path: Path) -> None:
    package = small_package(tmp_path / "small")
    (package.folder / "LICENSE").write_text("mine")
    with pytest.raises(ChangedError):
        inference.export_package(package, tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()


def _rezipped(zipped: Path, change: Callable[[zipfile.ZipFile, dict[str, bytes]], None]) -> None:
    with zipfile.ZipFile(zipped) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        change(archive, files)
        for name, data in files.items():
            archive.writestr(name, data)


def _linked(archive: zipfile.ZipFile, files: dict[str, bytes]) -> None:
    link = zipfile.ZipInfo("LICENSE")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive.writestr(link, "/etc/passwd")
    del files["LICENSE"]


ATTACKS: dict[str, tuple[Callable[[zipfile.ZipFile, dict[str, bytes]], object], type[PhenostreamError]]] = {
    "path-up": (lambda archive, _: archive.writestr("../evil", b""), HostileError),
    "path-absolute": (lambda archive, _: archive.writestr("/tmp/evil", b""), HostileError),
    "path-drive": (lambda archive, _: archive.writestr("C:evil", b""), HostileError),
    "path-backslash": (lambda archive, _: archive.writestr("..\\evil", b""), HostileError),
    "link": (_linked, HostileError),
    "bomb": (lambda archive, _: archive.writestr("zeros", bytes(2**26)), TooLargeError),
    "many": (lambda archive, _: [archive.writestr(f"f{n}", b"") for n in range(1000)] and None, TooLargeError),
    "missing": (lambda _, files: files.pop("model.onnx") and None, NotFoundError),
    "altered": (lambda _, files: files.update(LICENSE=b"mine"), ChangedError),
    "no-description": (lambda _, files: files.pop("rdf.yaml") and None, NotFoundError),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_archive_that_attacks_is_refused_and_leaves_nothing(name: str, zipped: Path, tmp_path: Path) -> None:
    change, error = ATTACKS[name]
    _rezipped(zipped, change)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(error):
        inference.import_package(zipped, to=tmp_path / "store")
    left = [path for path in sorted(tmp_path.rglob("*")) if path not in before and path != tmp_path / "store"]
    assert left == []


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_is_refused(zipped: Path, tmp_path: Path) -> None:
    _rezipped(zipped, lambda archive, _: archive.writestr("LICENSE", b"other"))
    with pytest.raises(HostileError, match="twice"):
        inference.import_package(zipped, to=tmp_path / "store")


def test_a_zip_that_lies_of_lengths_or_is_broken_is_refused(zipped: Path, tmp_path: Path) -> None:
    data = bytearray(zipped.read_bytes())
    directory = data.index(b"PK\1\2")
    (length,) = struct.unpack_from("<I", data, directory + 24)
    struct.pack_into("<I", data, directory + 24, length + 7)
    zipped.write_bytes(data)
    with pytest.raises(DamagedError):
        inference.import_package(zipped, to=tmp_path / "store")
    zipped.write_bytes(data[:-30])
    with pytest.raises(DamagedError, match="no zip"):
        inference.import_package(zipped, to=tmp_path / "store")
    with pytest.raises(NotFoundError):
        inference.import_package(tmp_path / "none.zip", to=tmp_path / "store")
