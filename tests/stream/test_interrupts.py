"""Ctrl-C and SIGTERM: soon, with 130, an exact status and an empty spool, whatever hangs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from phenostream.stream import errands, interrupts, run, status
from phenostream.stream.executor import Inline
from phenostream.synthetic import Archive, Design, RangeServer, write_archive
from phenostream.synthetic.serve import Answer
from phenostream.testing.plates import faults_of, light_recipe, result_of, write_plate

_HANG = 240


class _Silent(RangeServer):
    """Answers until `hangs` says so of a key; then sends half a body and nothing more until it is stopped.

    Attributes:
        hanging: set once it hangs.
        over: set once it hangs no more.
    """

    def __init__(self, folder: Path, hangs: Callable[[str], bool]) -> None:
        super().__init__(folder)
        self.hangs = hangs
        self.hanging = threading.Event()
        self.over = threading.Event()

    def answer(self, method: str, key: str, headers: Mapping[str, str]) -> Answer:
        answer = super().answer(method, key, headers)
        if answer.status >= 400 or not self.hangs(key):
            return answer

        def body() -> Any:
            yield next(answer.body)[:20]
            self.hanging.set()
            self.over.wait(_HANG)
            self.over.set()
            raise ConnectionAbortedError

        return Answer(answer.status, answer.headers, body())

    def stop(self) -> None:
        self.over.set()
        super().stop()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    design = Design(rows=2, columns=3, shape=(96, 96), channels=("DNA",), nuclei=4)
    return write_archive(tmp_path_factory.mktemp("archive") / "a", [design], levels=1)


def _recipe(archive: Archive, url: str) -> dict[str, Any]:
    """With more patience than the server's silence lasts: nothing but the signal ends a wait for it."""
    return light_recipe("") | {"source": archive.source(url), "transport": {"timeout": 2 * _HANG}}


def _started(file: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "phenostream", "run", str(file), "--out", str(out), "--quiet", "--no-report"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def _until_it_hangs(server: _Silent, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + _HANG
    while not server.hanging.wait(0.1):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline


def _stopped(process: subprocess.Popen[str], number: int) -> tuple[int, str]:
    process.send_signal(number)
    try:
        _, told = process.communicate(timeout=2 * _HANG)
    finally:
        process.kill()
    return process.returncode, told


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stalled_transfer_does_not_hold_an_interrupt_up(archive: Archive, tmp_path: Path, number: int) -> None:
    asked: list[str] = []

    def third_chunk(key: str) -> bool:
        if key.rpartition("/")[2].isdigit() and key not in asked:
            asked.append(key)
        return key in asked[2:]

    with _Silent(archive.root, third_chunk) as server:
        (tmp_path / "study.json").write_text(json.dumps(_recipe(archive, server.url)))
        process = _started(tmp_path / "study.json", tmp_path / "run")
        _until_it_hangs(server, process)
        deadline = time.monotonic() + _HANG
        while status(tmp_path / "run").done < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        code, told = _stopped(process, number)
        assert not server.over.is_set(), "the run waited for the server"
    assert code == 130, told
    shown = status(tmp_path / "run")
    assert (shown.inputs, shown.done, shown.waiting, shown.pid) == (6, 2, 4, 0)
    assert len(list((tmp_path / "run" / "parts").rglob("*.parquet"))) == 2
    assert list((tmp_path / "run" / "spool").iterdir()) == []
    assert "Traceback" not in told


@pytest.mark.slow
def test_a_server_that_is_silent_while_planning_does_not_hold_an_interrupt_up(archive: Archive, tmp_path: Path) -> None:
    with _Silent(archive.root, lambda key: key.endswith((".zattrs", ".zgroup", ".zarray"))) as server:
        (tmp_path / "study.json").write_text(json.dumps(_recipe(archive, server.url)))
        process = _started(tmp_path / "study.json", tmp_path / "run")
        _until_it_hangs(server, process)
        code, told = _stopped(process, signal.SIGINT)
        assert not server.over.is_set(), "the run waited for the server"
    assert (code, "Traceback" in told) == (130, False)


def test_the_next_run_after_an_interrupt_is_as_if_nothing_had_been(tmp_path: Path) -> None:
    recipe = light_recipe(write_plate(tmp_path / "images", 8), batch_size=2)
    run(recipe, tmp_path / "reference", executor=Inline())

    def interrupt(_: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    left = []
    for _ in range(3):
        told = run(recipe, tmp_path / "run", executor=Inline(), progress=interrupt)
        assert told.interrupted
        assert told.done + told.waiting == 8
        left.append(told.waiting)
    assert left == sorted(left, reverse=True)
    assert run(recipe, tmp_path / "run", executor=Inline()).done == 8
    assert faults_of(tmp_path / "run", result_of(tmp_path / "reference"), 8) == []


def _work(steps: list[str], *signals: int) -> None:
    with interrupts.handled():
        with interrupts.whole():
            for number in signals:
                os.kill(os.getpid(), number)
                steps.append("held back")
        steps.append("never")


def test_what_must_be_whole_is_brought_to_its_end() -> None:
    steps: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        _work(steps, signal.SIGINT)
    assert steps == ["held back"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_whoever_asks_twice_means_it() -> None:
    steps: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        _work(steps, signal.SIGTERM, signal.SIGINT)
    assert steps == ["held back"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_caller_s_own_handler_is_left_alone() -> None:
    heard = []
    before = signal.signal(signal.SIGINT, lambda *_: heard.append(1))
    try:
        with interrupts.handled():
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard == [1]


def test_an_errand_brings_its_value_or_its_error() -> None:
    assert errands.send(lambda: 7).result(60) == 7
    with pytest.raises(ZeroDivisionError):
        errands.send(lambda: 1 // 0).result(60)


@pytest.mark.slow
def test_an_errand_that_hangs_does_not_keep_python_alive() -> None:
    code = "import time; from phenostream.stream import errands; errands.send(time.sleep, 600)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
