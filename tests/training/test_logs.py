from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from phenostream.errors import MissingExtraError
from phenostream.training.logs import Journal, Table


def row(step: int) -> dict[str, float]:
    return {"step": step, "epoch": 1, "loss": step / 8}


def written(path: Path, steps: int) -> str:
    Table(path, 0).add([row(step) for step in range(1, steps + 1)])
    return path.read_text()


def test_a_table_goes_on_after_a_step(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.csv", 30)
    assert whole.splitlines()[:3] == ["step,epoch,loss", "1,1,0.125", "2,1,0.25"]
    path = tmp_path / "broken.csv"
    written(path, 25)
    Table(path, 20).add([row(step) for step in range(21, 31)])
    assert path.read_text() == whole


def test_a_table_torn_anywhere_goes_on(tmp_path: Path) -> None:
    """A kill may leave any number of bytes behind the last row that a checkpoint vouches for."""
    whole = written(tmp_path / "whole.csv", 14)
    sure = len(written(tmp_path / "sure.csv", 9))
    path = tmp_path / "torn.csv"
    for end in range(sure, len(whole) + 1):
        path.write_text(whole[:end])
        Table(path, 9).add([row(step) for step in range(10, 15)])
        assert path.read_text() == whole


def test_a_table_without_a_checkpoint_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "torn.csv"
    whole = written(tmp_path / "whole.csv", 5)
    for end in range(len(whole) + 1):
        path.write_text(whole[:end])
        Table(path, 0).add([row(step) for step in range(1, 6)])
        assert path.read_text() == whole


def test_events_after_the_checkpoint_are_forgotten(tmp_path: Path) -> None:
    first = Journal(tmp_path, tensorboard=True)
    first.steps([row(step) for step in range(1, 11)])
    first.close()
    second = Journal(tmp_path, 6, tensorboard=True)
    second.steps([{**row(step), "loss": -1.0} for step in range(7, 13)])
    second.validation({"step": 12, "epoch": 1, "accuracy": 0.5})
    second.flush()
    second.close()
    told = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    scalars = told.Scalars("train/loss")
    assert [one.step for one in scalars] == list(range(1, 13))
    assert [one.value for one in scalars] == [*(step / 8 for step in range(1, 7)), *[-1.0] * 6]
    assert [one.value for one in told.Scalars("validation/accuracy")] == [0.5]


def test_without_tensorboard_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError) as told:
        Journal(tmp_path, tensorboard=True)
    assert told.value.remedy == 'pip install "phenostream[train]"'
    Journal(tmp_path, tensorboard=False).close()
