"""Progress bars: nothing where nobody looks, and one look for all that is counted."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from phenostream.cli import progress


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=160, color_system=None)
    monkeypatch.setattr(progress, "console", console)
    return written


def test_no_bar_where_nobody_looks(terminal: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    with progress.bar("sites", progress.of_count, quiet=True) as tell:
        assert tell is None
    monkeypatch.setattr(progress, "console", Console(file=io.StringIO()))
    with progress.bar("sites", progress.of_count, quiet=False) as tell:
        assert tell is None
    assert terminal.getvalue() == ""


def test_a_count(terminal: io.StringIO) -> None:
    with progress.bar("sites", progress.of_count, quiet=False, detailed=False) as tell:
        assert tell is not None
        tell(3, 12)
    assert "sites" in terminal.getvalue()
    assert " 3/12 " in terminal.getvalue()


def test_a_fit_tells_loss_metrics_and_speed(terminal: io.StringIO) -> None:
    told = SimpleNamespace(step=30, steps=120, epoch=2, epochs=8, loss=0.125, samples_per_s=1234.0, metrics={"ap": 0.5})
    with progress.bar("steps", progress.of_fit, quiet=False) as tell:
        assert tell is not None
        tell(told)
    assert "30/120" in terminal.getvalue()
    assert "epoch 2/8, loss 0.125, ap 0.5, 1,234/s" in terminal.getvalue()
