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
        with pytest.raises(BusyError, match=str(os.getpid())), room.locked(tmp_path):
            pass
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


def test_a_network_file_system_is_known_by_its_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        f"40 22 0:40 / {tmp_path}/share rw,relatime shared:2 - nfs4 server:/export rw,vers=4.2\n"
        f"41 22 8:2 / {tmp_path}/share/disk rw,relatime - xfs /dev/sdb1 rw\n"
    )
    told = {
        name: room.network_of(tmp_path / name, mounts)
        for name in ("share", "share/run", "share/disk/run", "shared", "run")
    }
    assert told == {"share": "nfs4", "share/run": "nfs4", "share/disk/run": "", "shared": "", "run": ""}
    assert room.network_of(tmp_path, tmp_path / "absent") == ""
