"""The run folder: locks, sweeping, durable files."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from phenostream.errors import BusyError, DiskFullError
from phenostream.stream import folder as room


def test_a_second_process_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    with room.locked(tmp_path):
        code = (
            "import sys; from pathlib import Path; from phenostream.stream.folder import locked\n"
            "try:\n with locked(Path(sys.argv[1])): pass\n"
            "except BlockingIOError as error: print(error)\n"
        )
        told = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
        assert str(os.getpid()) in told.stdout
        assert room.holder(tmp_path) == os.getpid()
        with pytest.raises(BusyError, match=str(os.getpid())), room.locked(tmp_path):
            pass
    assert room.holder(tmp_path) == 0
    with room.locked(tmp_path):
        pass


def test_a_published_file_carries_its_hash_and_leaves_no_scratch(tmp_path: Path) -> None:
    room.open_folder(tmp_path)
    path, sha256 = room.publish(tmp_path, b"numbers", "parts", ".parquet")
    assert sha256 == hashlib.sha256(b"numbers").hexdigest()
    assert path == f"parts/{sha256[:2]}/{sha256}.parquet"
    assert (tmp_path / path).read_bytes() == b"numbers"
    assert list((tmp_path / "spool").iterdir()) == []


def test_the_sweep_leaves_only_what_the_ledger_names(tmp_path: Path) -> None:
    room.open_folder(tmp_path)
    kept, _ = room.publish(tmp_path, b"kept", "parts", ".parquet")
    lost, _ = room.publish(tmp_path, b"lost", "parts", ".parquet")
    (tmp_path / "spool" / "unit").mkdir()
    (tmp_path / "spool" / "unit" / "chunk").write_bytes(b"x" * 100)
    (tmp_path / "spool" / "half.part").write_bytes(b"x" * 10)
    assert room.sweep(tmp_path, lambda _: {kept}) == 114
    assert (tmp_path / kept).is_file()
    assert not (tmp_path / lost).exists()
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_a_named_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises((DiskFullError, NotADirectoryError, FileExistsError)):
        room.open_folder(tmp_path / "file" / "run")


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    with pytest.raises(DiskFullError, match="No space left") as told, room.named_disk(tmp_path):
        raise OSError(28, "No space left on device")
    assert "nothing is lost" in told.value.remedy
