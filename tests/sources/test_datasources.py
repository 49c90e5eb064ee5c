import json
import os

import pytest

from phenostream.errors import ChangedError, DamagedError, EmptyError, HostileError, NotFoundError, RecipeError
from phenostream.sources import LocalStore, catalogs, datasources


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "plate" / "sub").mkdir(parents=True)
    for name in ("A1.tif", "A2.tif", "sub/A3.tif"):
        (tmp_path / "plate" / name).write_text(name)
    return tmp_path / "plate"


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def test_a_folder_is_registered_once_and_opened_often(folder, home):
    made = datasources.register("screen", folder, home=home)
    assert set(made.files) == {"A1.tif", "A2.tif", "sub/A3.tif"}
    assert made.bytes == 22
    assert datasources.open("screen", home=home) == made
    assert datasources.open("screen", home=home, verify="full") == made
    assert datasources.register("screen", folder, home=home).digest == made.digest
    assert [path.name for path in home.iterdir()] == ["screen.json"]


def test_the_digest_is_of_the_content(folder, home, tmp_path):
    made = datasources.register("one", folder, home=home)
    folder.rename(tmp_path / "moved")
    assert datasources.register("two", tmp_path / "moved", home=home).digest == made.digest
    (tmp_path / "moved" / "A1.tif").rename(tmp_path / "moved" / "B1.tif")
    assert datasources.register("three", tmp_path / "moved", home=home).digest != made.digest


def test_changes_are_named(folder, home):
    datasources.register("screen", folder, home=home)
    (folder / "A1.tif").write_text("A1.TIF")
    (folder / "A2.tif").unlink()
    (folder / "new").touch()
    with pytest.raises(ChangedError, match=r"3 files differ: A1\.tif has changed; A2\.tif is missing; new was added"):
        datasources.open("screen", home=home)


def test_many_changes_are_counted(folder, home):
    datasources.register("screen", folder, home=home)
    for number in range(50):
        (folder / f"x{number:02}").touch()
    with pytest.raises(ChangedError, match="50 files differ") as caught:
        datasources.open("screen", home=home)
    assert "x19" in str(caught.value)
    assert "x20" not in str(caught.value)
    assert "and 30 more" in str(caught.value)


def test_a_change_that_restores_length_and_time_is_seen(folder, home):
    file = folder / "A1.tif"
    before = file.stat()
    datasources.register("screen", folder, home=home)
    file.write_text("a1.TIF")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ChangedError, match=r"A1\.tif has changed"):
        datasources.open("screen", home=home)


def test_new_times_alone_are_no_change(folder, home):
    made = datasources.register("screen", folder, home=home)
    (folder / "A1.tif").touch()
    assert datasources.open("screen", home=home).digest == made.digest
    assert datasources.manifest("screen", home=home).files["A1.tif"].stamp != made.files["A1.tif"].stamp


def test_unchanged_files_are_not_read_again_unless_asked(folder, home, monkeypatch):
    datasources.register("screen", folder, home=home)
    hashed = []
    real = datasources.hashlib.file_digest
    monkeypatch.setattr(
        datasources.hashlib, "file_digest", lambda file, name: hashed.append(file.name) or real(file, name)
    )
    datasources.open("screen", home=home)
    assert hashed == []
    datasources.open("screen", home=home, verify="full")
    assert len(hashed) == 3


def test_a_name_stands_for_one_content(folder, home):
    datasources.register("screen", folder, home=home)
    (folder / "A1.tif").write_text("other")
    with pytest.raises(ChangedError, match=r"other content.*A1\.tif"):
        datasources.register("screen", folder, home=home)


@pytest.mark.parametrize("where", ["file", "folder"])
def test_links_out_of_the_folder_are_refused(folder, home, tmp_path, where):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").touch()
    (folder / "link").symlink_to(tmp_path / "secret" / ("key" if where == "file" else ""))
    with pytest.raises(HostileError, match="link"):
        datasources.register("screen", folder, home=home)


def test_strange_names_empty_folders_and_unknown_sources(folder, home, tmp_path):
    for name in ("", "../x", "a/b", ".hidden"):
        with pytest.raises(RecipeError, match="name"):
            datasources.register(name, folder, home=home)
    (tmp_path / "empty").mkdir()
    with pytest.raises(EmptyError):
        datasources.register("empty", tmp_path / "empty", home=home)
    with pytest.raises(NotFoundError):
        datasources.register("gone", tmp_path / "gone", home=home)
    datasources.register("screen", folder, home=home)
    with pytest.raises(NotFoundError, match="known: screen"):
        datasources.open("scren", home=home)


def test_an_altered_manifest_is_refused(folder, home):
    datasources.register("screen", folder, home=home)
    path = home / "screen.json"
    told = json.loads(path.read_text())
    del told["files"]["A1.tif"]
    path.write_text(json.dumps(told))
    with pytest.raises(DamagedError, match="altered"):
        datasources.open("screen", home=home)
    path.write_text("{}")
    with pytest.raises(DamagedError, match="manifest"):
        datasources.open("screen", home=home)


def test_where_manifests_live(monkeypatch, tmp_path):
    monkeypatch.delenv("PHENOSTREAM_HOME", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert datasources.home_folder() == tmp_path / "phenostream" / "datasources"
    monkeypatch.setenv("PHENOSTREAM_HOME", str(tmp_path / "own"))
    assert datasources.home_folder() == tmp_path / "own" / "datasources"
    assert datasources.home_folder("given").name == "given"


def test_the_catalog_says_which_content_it_read(folder, home):
    made = datasources.register("screen", folder, home=home)
    settings = catalogs.parse({"catalog": "datasource", "name": "screen", "home": str(home), "pattern": "{well}.tif"})
    store = LocalStore(catalogs.base(settings))
    fields = list(catalogs.units(settings, store))
    assert [field.id.well for field in fields] == ["A1", "A2", "A3"]
    assert {field.annotation["datasource"] for field in fields} == {made.digest}
    assert store.read(fields[2].planes[0].key) == b"sub/A3.tif"
    (folder / "A1.tif").write_text("changed")
    with pytest.raises(ChangedError, match=r"A1\.tif"):
        next(catalogs.units(settings, store))
