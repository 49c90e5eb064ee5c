from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from phenostream.errors import BusyError, DiskFullError
from phenostream.training.durable import held, replace, replace_text


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    replace_text(path, "one")
    replace_text(path, "two")
    assert path.read_text() == "two"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_writer_leaves_what_was(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    replace_text(path, "one")

    def fail(temporary: Path) -> None:
        temporary.write_text("tw")
        raise ValueError

    with pytest.raises(ValueError):
        replace(path, fail)
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_cannot_be_written_is_named() -> None:
    with pytest.raises(DiskFullError, match="cannot write"):
        replace(Path("/dev/full-of-nothing"), lambda path: os.write(os.open("/dev/full", os.O_WRONLY), b"x"))


def test_a_folder_is_held_by_one_process(tmp_path: Path) -> None:
    other = (
        "import sys; from pathlib import Path; from phenostream.training.durable import held\n"
        f"with held(Path({str(tmp_path)!r})): pass"
    )
    with held(tmp_path):
        ended = subprocess.run([sys.executable, "-c", other], capture_output=True, text=True, check=False)
        assert "BusyError" in ended.stderr
        assert f"process {os.getpid()} trains in" in ended.stderr
    assert subprocess.run([sys.executable, "-c", other], check=False).returncode == 0
    with held(tmp_path), pytest.raises(BusyError), held(tmp_path):
        pass
