"""One process a folder, and who it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from phenostream.disk import held, holder, locked
from phenostream.errors import BusyError

_OTHER = """
import sys
from pathlib import Path
from phenostream import disk
try:
    with getattr(disk, sys.argv[1])(Path(sys.argv[2])):
        print("taken")
except BlockingIOError as error:
    print(error)
"""


def _of_another(kind: str, folder: Path) -> str:
    command = [sys.executable, "-c", _OTHER, kind, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout.strip()


@pytest.mark.parametrize("kind", ["locked", "held"])
def test_a_second_process_is_refused_with_the_pid_of_the_first(tmp_path: Path, kind: str) -> None:
    take = {"locked": locked, "held": held}[kind]
    busy = f"{tmp_path} is in use by process {os.getpid()} (wait for it, or stop it)"
    with take(tmp_path):
        assert _of_another(kind, tmp_path) == busy
        with pytest.raises(BusyError, match=str(os.getpid())), take(tmp_path):
            pass
        assert _of_another(kind, tmp_path) == busy
    assert _of_another(kind, tmp_path) == "taken"
    with take(tmp_path):
        pass


def test_the_holder_is_told_only_while_it_holds(tmp_path: Path) -> None:
    assert holder(tmp_path) == 0
    with locked(tmp_path):
        assert holder(tmp_path) == os.getpid()
    assert holder(tmp_path) == 0


@pytest.mark.parametrize(("kind", "after"), [("locked", "is in use by"), ("held", "taken")])
def test_a_forked_worker_that_outlives_the_holder_keeps_only_a_lock_that_it_shares(
    tmp_path: Path, kind: str, after: str
) -> None:
    code = (
        "import os, sys, time; from pathlib import Path; from phenostream import disk\n"
        "with getattr(disk, sys.argv[1])(Path(sys.argv[2])):\n"
        "    worker = os.fork()\n"
        "    if not worker: sys.stdin.read(); os._exit(0)\n"
        "    print('forked', flush=True); os._exit(0)\n"
    )
    command = [sys.executable, "-c", code, kind, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline() == "forked\n"
        assert process.wait(timeout=300) == 0
        assert after in _of_another(kind, tmp_path)
        process.stdin.close()


def test_the_words_are_the_caller_s(tmp_path: Path) -> None:
    with (
        locked(tmp_path),
        pytest.raises(BusyError) as told,
        locked(tmp_path, told="process {pid} trains in {folder}", remedy="wait"),
    ):
        pass
    assert str(told.value) == f"process {os.getpid()} trains in {tmp_path} (wait)"
