"""Files and folders that are whole under their name, or not there at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from phenostream import disk


class Calls:
    """The order in which names and bytes reach the disk, and one call that fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[str] = []
        self.refuse = ""
        fsync, rename, replace = os.fsync, Path.rename, Path.replace

        def synced(handle: int) -> None:
            self._note(f"fsync {Path(os.readlink(f'/proc/self/fd/{handle}')).name}")
            fsync(handle)

        def renamed(old: Path, new: Path) -> Path:
            self._note(f"rename {Path(new).name}")
            return rename(old, new)

        def replaced(old: Path, new: Path) -> Path:
            self._note(f"rename {Path(new).name}")
            return replace(old, new)

        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(Path, "rename", renamed)
        monkeypatch.setattr(Path, "replace", replaced)

    def _note(self, call: str) -> None:
        self.seen.append(call)
        if self.refuse and call.startswith(self.refuse):
            self.refuse = ""
            raise OSError(errno.EIO, os.strerror(errno.EIO))


def _interrupted(_: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(monkeypatch)


def test_bytes_are_on_the_disk_before_they_have_a_name_and_the_name_before_the_end(
    tmp_path: Path, calls: Calls
) -> None:
    disk.replace_bytes(tmp_path / "a.bin", b"one")
    disk.replace_bytes(tmp_path / "a.bin", b"two")
    assert calls.seen == ["fsync a.bin.part", "rename a.bin", f"fsync {tmp_path.name}"] * 2
    assert (tmp_path / "a.bin").read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [tmp_path / "a.bin"]


@pytest.mark.parametrize("call", ["fsync a.bin.part", "rename"])
def test_where_the_disk_fails_the_old_bytes_stay_and_nothing_is_left_over(
    tmp_path: Path, calls: Calls, call: str
) -> None:
    disk.replace_bytes(tmp_path / "a.bin", b"one")
    calls.refuse = call
    with pytest.raises(OSError, match="Input/output"):
        disk.replace_bytes(tmp_path / "a.bin", b"two")
    assert (tmp_path / "a.bin").read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [tmp_path / "a.bin"]


def test_what_a_killed_writer_has_left_is_taken_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "a.bin.part").write_bytes(b"half of a longer one")
    disk.replace_bytes(tmp_path / "a.bin", b"one")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.bin", b"one")]


def test_a_block_that_fails_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), disk.writing(tmp_path / "a.bin") as file:
        _interrupted(file.write(b"half"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_says_the_same_is_left_as_it_is(tmp_path: Path, calls: Calls) -> None:
    path = tmp_path / "a.bin"
    disk.ensure_bytes(path, b"one")
    before = path.stat()
    assert len(calls.seen) == 3
    disk.ensure_bytes(path, b"one")
    assert (len(calls.seen), path.stat().st_ino) == (3, before.st_ino)
    disk.ensure_bytes(path, b"two")
    assert path.read_bytes() == b"two"


def test_a_file_written_by_name_is_treated_alike(tmp_path: Path, calls: Calls) -> None:
    with disk.replacing(tmp_path / "a.bin") as temporary:
        temporary.write_bytes(b"one")
    assert calls.seen == [f"fsync {temporary.name}", "rename a.bin", f"fsync {tmp_path.name}"]
    with pytest.raises(KeyboardInterrupt), disk.replacing(tmp_path / "a.bin") as temporary:
        _interrupted(temporary.write_bytes(b"tw"))
    assert (tmp_path / "a.bin").read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [tmp_path / "a.bin"]


def test_two_writers_by_name_do_not_meet_and_long_names_are_cut(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    one, other = disk.beside(path), disk.beside(path)
    assert one != other
    assert one.parent == tmp_path
    assert len(one.name) < 100
    assert one.name.startswith(".x")
    assert one.name.endswith(disk.PART)


def test_a_name_that_need_not_survive_is_not_synced(tmp_path: Path, calls: Calls) -> None:
    with disk.taking_place(tmp_path / "half", tmp_path / "whole", durable=False):
        (tmp_path / "half").write_bytes(b"one")
    assert calls.seen == ["rename whole"]
    assert (tmp_path / "whole").read_bytes() == b"one"


def test_a_folder_is_on_the_disk_to_its_last_file_before_it_has_its_name(tmp_path: Path, calls: Calls) -> None:
    with disk.replacing_folder(tmp_path / "pack") as making:
        (making / "inner").mkdir()
        for name in ("b", "a", "inner/c"):
            (making / name).write_text(name)
    assert calls.seen == [
        "fsync c", "fsync inner", "fsync a", "fsync b", f"fsync {making.name}", "rename pack", f"fsync {tmp_path.name}",
    ]  # fmt: skip
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "c", "inner", "pack"]


@pytest.mark.parametrize("call", ["fsync", "rename pack"])
def test_a_folder_that_cannot_come_leaves_the_old_one(tmp_path: Path, calls: Calls, call: str) -> None:
    with disk.replacing_folder(tmp_path / "pack") as making:
        (making / "old").write_text("old")
    calls.refuse = call
    with pytest.raises(OSError, match="Input/output"), disk.replacing_folder(tmp_path / "pack") as making:
        (making / "new").write_text("new")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["old", "pack"]


def test_a_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with disk.replacing_folder(tmp_path / "pack") as making:
            (making / name).write_text(name)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["new", "pack"]


def test_half_a_folder_is_discarded(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), disk.taking_place(tmp_path / "half", tmp_path / "whole"):
        _interrupted(os.makedirs(tmp_path / "half" / "inner"))
    assert list(tmp_path.iterdir()) == []
