"""The fit loop on a task that a few convolutions learn in seconds."""

from __future__ import annotations

import csv
import json
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from phenostream.errors import BusyError, DamagedError, DivergedError, LedgerError, RecipeError
from phenostream.training import FitSettings, checkpoints, fit, registry
from phenostream.training.durable import held

QUICK = {"epochs": 3, "batch_size": 8, "tensorboard": False, "checkpoint_minutes": 0, "log_every": 3, "ema": 0.9}

CHILD = """
import json, sys, torch
from phenostream.training import FitSettings, fit, registry
torch.set_num_threads(1)
folder, train, settings, seed = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3]), int(sys.argv[4])
task = registry.build("blobs", registry.settings("blobs", settings))
def tell(told):
    print(told.step, flush=True)
    sys.stdin.readline()  # until it is let go on
fit(task, FitSettings(**train), folder=folder, seed=seed, progress=tell)
"""


def blobs(**settings: object):
    return registry.build("blobs", registry.settings("blobs", settings))


def best_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("best-*.safetensors"))


def timeless(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file without the column that tells speed."""
    with path.open() as file:
        return [{key: value for key, value in row.items() if key != "samples_per_s"} for row in csv.DictReader(file)]


def weights(network: nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in network.state_dict().items()}


def assert_same_course(one: Path, other: Path) -> None:
    """To the last bit: every logged number, and all that the last checkpoint holds (weights, moments, mean)."""
    assert timeless(one / "steps.csv") == timeless(other / "steps.csv")
    assert timeless(one / "validations.csv") == timeless(other / "validations.csv")
    left, right = (checkpoints.latest(folder / "checkpoints") for folder in (one, other))
    left["position"].pop("seconds"), right["position"].pop("seconds")
    assert_same(left, right)


def assert_same(left: object, right: object) -> None:
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_same(left[key], right[key])
    elif isinstance(left, torch.Tensor):
        assert torch.equal(left, right)
    else:
        assert left == right


class Stop(Exception):
    """Not an error of the loop: the test pulls the plug."""


def stop_at(step: int):
    def tell(told) -> None:
        if told.step >= step:
            raise Stop

    return tell


def test_it_learns_and_says_how(tmp_path: Path) -> None:
    settings = FitSettings(epochs=12, batch_size=16, learning_rate=0.02, monitor="entropy", mode="min", ema=0.9)
    told = fit(blobs(dropout=0.0), settings, folder=tmp_path, seed=3)
    rows = timeless(tmp_path / "steps.csv")
    assert told.metrics["accuracy"] >= 0.9
    assert float(rows[-1]["loss"]) < 0.5 * float(rows[0]["loss"])
    assert [int(row["step"]) for row in rows] == list(range(1, 49))
    assert [int(row["step"]) for row in timeless(tmp_path / "validations.csv")] == list(range(4, 49, 4))
    assert (told.steps, told.epochs, told.stopped, told.batch_size, told.device) == (48, 12, "finished", 16, "cpu")
    assert told.samples_per_s > 0
    assert told.samples_per_s == pytest.approx(48 * 16 / told.seconds)
    assert list((tmp_path / "tensorboard").iterdir())
    assert not told.network.training


def test_a_step_is_that_of_a_plain_loop(tmp_path: Path) -> None:
    """The same batches through torch's own optimizer, clipping and scheduler, written out."""
    task = blobs(dropout=0.0)
    settings = FitSettings(
        epochs=2, batch_size=8, warmup=0, final=0, clip=0.02, weight_decay=0.05, channels_last=False, tensorboard=False
    )
    told = fit(task, settings, folder=tmp_path, seed=5)

    from phenostream.training.order import Order, own_randomness, seed_network

    order = Order(len(task), 8, seed=5)
    with own_randomness():
        seed_network(5)
        network = task.network()
    decaying = [weight for weight in network.parameters() if weight.ndim > 1]
    sparing = [weight for weight in network.parameters() if weight.ndim == 1]
    optimizer = torch.optim.AdamW([{"params": decaying, "weight_decay": 0.05}, {"params": sparing, "weight_decay": 0}])
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 2 * order.steps)
    losses, norms = [], []
    for step in range(2 * order.steps):
        batch = task.collate([task.example(draw.example, order.rng(draw)) for draw in order.batch(step)])
        optimizer.zero_grad()
        loss, _ = task.loss(network, batch)
        loss.backward()
        norms.append(float(nn.utils.clip_grad_norm_(network.parameters(), 0.02)))
        optimizer.step()
        scheduler.step()
        losses.append(float(loss.detach()))
    rows = timeless(tmp_path / "steps.csv")
    assert [float(row["loss"]) for row in rows] == pytest.approx(losses, rel=1e-5)
    assert [float(row["gradient"]) for row in rows] == pytest.approx(norms, rel=1e-4)
    assert min(norms) > 0.02  # so that clipping was at work
    for mine, theirs in zip(told.network.state_dict().values(), network.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_the_seed_decides_everything(tmp_path: Path) -> None:
    settings = FitSettings(**QUICK)
    torch.manual_seed(0)
    fit(blobs(), settings, folder=tmp_path / "a", seed=1)
    torch.manual_seed(1)
    fit(blobs(), settings, folder=tmp_path / "b", seed=1)
    assert_same_course(tmp_path / "a", tmp_path / "b")
    fit(blobs(), settings, folder=tmp_path / "c", seed=2)
    assert timeless(tmp_path / "a" / "steps.csv") != timeless(tmp_path / "c" / "steps.csv")


def test_workers_change_nothing(tmp_path: Path) -> None:
    fit(blobs(), FitSettings(**QUICK), folder=tmp_path / "none", seed=1)
    fit(blobs(), FitSettings(**QUICK, workers=2), folder=tmp_path / "two", seed=1)
    assert_same_course(tmp_path / "none", tmp_path / "two")


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_stopped_anywhere_it_goes_on_to_the_same_numbers(optimizer: str, tmp_path: Path) -> None:
    """Every step of two epochs once: before, at and after a checkpoint, a validation, the end of an epoch."""
    settings = FitSettings(**QUICK | {"epochs": 2, "log_every": 1, "optimizer": optimizer, "monitor": "entropy"})
    task = blobs(examples=32)
    fit(task, settings, folder=tmp_path / "whole", seed=1)
    for stop in range(1, 9):
        with pytest.raises(Stop):
            fit(task, settings, folder=tmp_path / "broken", seed=1, progress=stop_at(stop))
    fit(task, settings, folder=tmp_path / "broken", seed=1)
    assert_same_course(tmp_path / "whole", tmp_path / "broken")


def test_a_finished_fit_is_only_read(tmp_path: Path) -> None:
    settings = FitSettings(**QUICK, monitor="entropy", mode="min")
    first = fit(blobs(), settings, folder=tmp_path, seed=1)
    log = (tmp_path / "steps.csv").stat().st_mtime_ns
    again = fit(blobs(), settings, folder=tmp_path, seed=1)
    assert (tmp_path / "steps.csv").stat().st_mtime_ns == log
    assert again.metrics == first.metrics
    assert again.step == first.step
    for name, weight in weights(first.network).items():
        assert np.array_equal(weight, weights(again.network)[name])


def test_the_best_weights_are_kept(tmp_path: Path) -> None:
    """The most uncertain weights are asked for, which a network that learns has early."""
    settings = FitSettings(**{**QUICK, "epochs": 8, "monitor": "entropy", "learning_rate": 0.01})
    task = blobs()
    told = fit(task, settings, folder=tmp_path, seed=1)
    rows = timeless(tmp_path / "validations.csv")
    best = max(rows, key=lambda row: float(row["entropy"]))
    assert told.step == int(best["step"]) < told.steps
    assert told.metrics["entropy"] == float(best["entropy"])
    with torch.no_grad():
        assert task.validate(told.network)["entropy"] == pytest.approx(told.metrics["entropy"], rel=1e-6)


def test_patience_ends_a_fit(tmp_path: Path) -> None:
    settings = FitSettings(**{**QUICK, "epochs": 30, "monitor": "accuracy", "min_delta": 2.0, "patience": 3})
    told = fit(blobs(), settings, folder=tmp_path, seed=1)
    # The first validation is always the best so far; three that do not gain 2.0 follow.
    assert (told.stopped, told.epochs, told.step) == ("patience", 4, 8)
    assert fit(blobs(), settings, folder=tmp_path, seed=1).epochs == 4


def test_validations_may_be_rare(tmp_path: Path) -> None:
    settings = FitSettings(**{**QUICK, "epochs": 5, "validate_every": 2})
    fit(blobs(), settings, folder=tmp_path / "two", seed=1)
    assert [row["epoch"] for row in timeless(tmp_path / "two" / "validations.csv")] == ["2", "4", "5"]
    fit(blobs(), FitSettings(**{**QUICK, "validate_every": 0}), folder=tmp_path / "none", seed=1)
    assert [row["epoch"] for row in timeless(tmp_path / "none" / "validations.csv")] == ["3"]


def test_bfloat16_learns_too(tmp_path: Path) -> None:
    settings = FitSettings(epochs=10, batch_size=16, learning_rate=0.02, precision="bf16", tensorboard=False)
    told = fit(blobs(dropout=0.0), settings, folder=tmp_path, seed=3)
    assert told.metrics["accuracy"] >= 0.85
    assert all(tensor.dtype != torch.bfloat16 for tensor in told.network.state_dict().values())


def test_a_loss_that_is_not_a_number_is_named(tmp_path: Path) -> None:
    settings = FitSettings(**{**QUICK, "log_every": 100})
    with pytest.raises(DivergedError, match=r"loss of step [1-8] \(epoch 1\) is nan") as told:
        fit(blobs(poison=20), settings, folder=tmp_path, seed=1)
    assert "learning_rate" in told.value.remedy
    step = int(str(told.value).partition("step ")[2].split()[0])
    losses = [float(row["loss"]) for row in timeless(tmp_path / "steps.csv")]
    assert np.isfinite(losses[: step - 1]).all()
    assert np.isnan(losses[step - 1])
    assert not checkpoints.paths(tmp_path / "checkpoints"), "spoilt weights must not be kept"


def test_an_unknown_metric_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no validation metric 'ap'") as told:
        fit(blobs(), FitSettings(**QUICK, monitor="ap"), folder=tmp_path, seed=1)
    assert "accuracy, entropy" in told.value.remedy


def test_other_settings_do_not_go_on(tmp_path: Path) -> None:
    settings = FitSettings(**QUICK)
    with pytest.raises(Stop):
        fit(blobs(), settings, folder=tmp_path, seed=1, progress=stop_at(8))
    other = FitSettings(**QUICK, learning_rate=0.1, schedule="constant")
    with pytest.raises(LedgerError, match=r"train.learning_rate was 0.001 and is 0.1, train.schedule was 'cosine'"):
        fit(blobs(), other, folder=tmp_path, seed=1)
    with pytest.raises(LedgerError, match="seed was 1 and is 2"):
        fit(blobs(), settings, folder=tmp_path, seed=2)
    with pytest.raises(LedgerError, match=r"settings.width was 6 and is 7"):
        fit(blobs(width=7), settings, folder=tmp_path, seed=1)
    with pytest.raises(LedgerError, match=r"data.generated was"):
        fit(blobs(examples=72), settings, folder=tmp_path, seed=1)
    other = FitSettings(**{**QUICK, "log_every": 1, "workers": 1, "checkpoint_minutes": 9})
    assert fit(blobs(), other, folder=tmp_path, seed=1).stopped == "finished"


def test_after_a_damaged_checkpoint_the_one_before_serves(tmp_path: Path) -> None:
    settings = FitSettings(**QUICK)
    fit(blobs(), settings, folder=tmp_path / "whole", seed=1)
    with pytest.raises(Stop):
        fit(blobs(), settings, folder=tmp_path / "broken", seed=1, progress=stop_at(12))
    last = checkpoints.paths(tmp_path / "broken" / "checkpoints")[-1]
    last.write_bytes(last.read_bytes()[:-20])
    with pytest.raises(DamagedError):
        fit(blobs(), settings, folder=tmp_path / "broken", seed=1)
    last.unlink()  # the remedy
    fit(blobs(), settings, folder=tmp_path / "broken", seed=1)
    assert_same_course(tmp_path / "whole", tmp_path / "broken")


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    with held(tmp_path), pytest.raises(BusyError):
        fit(blobs(), FitSettings(**QUICK), folder=tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_a_checkpoint_of_the_last_step(number: int, tmp_path: Path) -> None:
    settings = FitSettings(**{**QUICK, "checkpoint_minutes": 60, "log_every": 1})
    fit(blobs(), settings, folder=tmp_path / "whole", seed=1)
    before = signal.getsignal(number)

    def interrupt(told) -> None:
        if told.step == 11:
            signal.raise_signal(number)

    with pytest.raises(KeyboardInterrupt):
        fit(blobs(), settings, folder=tmp_path / "broken", seed=1, progress=interrupt)
    assert signal.getsignal(number) is before
    (kept,) = checkpoints.paths(tmp_path / "broken" / "checkpoints")
    assert kept.stem == f"step-{12:09d}"
    fit(blobs(), settings, folder=tmp_path / "broken", seed=1)
    assert_same_course(tmp_path / "whole", tmp_path / "broken")


def test_it_runs_outside_the_main_thread(tmp_path: Path) -> None:
    told = []
    work = threading.Thread(target=lambda: told.append(fit(blobs(), FitSettings(**QUICK), folder=tmp_path, seed=1)))
    work.start()
    work.join()
    assert told[0].stopped == "finished"


def child(folder: Path, train: dict[str, object], settings: dict[str, object]) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", CHILD, str(folder), json.dumps(train), json.dumps(settings), "1"]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def kill_after(process: subprocess.Popen[str], lines: int, seconds: float) -> bool:
    """Kill -9 the child `seconds` after it told its step `lines` times; whether it died of that.

    Between the last line and the kill it may go three steps, so that it cannot end however late the kill comes.
    """
    for _ in range(lines):
        assert process.stdout.readline(), "it ended by itself"
        let_go_on(process, 1)
    let_go_on(process, 2)
    time.sleep(seconds)
    process.kill()
    process.stdin.close()
    process.stdout.close()
    return process.wait() == -signal.SIGKILL


def let_go_on(process: subprocess.Popen[str], steps: int) -> None:
    process.stdin.write("\n" * steps)
    process.stdin.flush()


def test_best_weights_of_an_abandoned_branch_are_not_taken(tmp_path: Path) -> None:
    """Where steps do not repeat to the bit, a killed process may leave better weights than any that its heir finds."""
    settings = FitSettings(**{**QUICK, "epochs": 4, "monitor": "entropy", "mode": "min"})

    def stop_late(told: object) -> None:
        if told.epoch == 3:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fit(blobs(), settings, folder=tmp_path, seed=1, progress=stop_late)
    vouched = checkpoints.latest(tmp_path / "checkpoints")["position"]["best_step"]
    strange = {name: torch.full_like(value, 7) for name, value in checkpoints.read(best_of(tmp_path)[-1]).items()}
    checkpoints.write(checkpoints.best(tmp_path, vouched + 1), strange)
    told = fit(blobs(), settings, folder=tmp_path, seed=1)
    fit(blobs(), settings, folder=tmp_path / "whole", seed=1)
    named = checkpoints.read(checkpoints.best(tmp_path / "whole", told.step))
    assert all((value.numpy() == named[name].numpy()).all() for name, value in told.network.state_dict().items())
    assert checkpoints.best(tmp_path, vouched + 1) not in best_of(tmp_path)


@pytest.mark.slow
def test_killed_again_and_again_it_comes_to_the_same_end(tmp_path: Path) -> None:
    """Really killed (SIGKILL), at moments nobody chose: in steps, in checkpoints, in validations."""
    train = {**QUICK, "epochs": 20, "log_every": 1, "monitor": "accuracy", "workers": 1}
    settings = {"examples": 48}
    fit(blobs(**settings), FitSettings(**train), folder=tmp_path / "whole", seed=1)
    chance = random.Random(0)
    kills = 0
    for _ in range(4):
        kills += kill_after(child(tmp_path / "broken", train, settings), chance.randint(1, 25), chance.random() / 50)
    assert kills == 4
    last = child(tmp_path / "broken", train, settings)
    assert last.communicate(timeout=300) is not None  # its standard input is at an end: nothing holds it
    assert last.returncode == 0
    assert_same_course(tmp_path / "whole", tmp_path / "broken")
    best = [[(one.name, one.read_bytes()) for one in best_of(tmp_path / name)] for name in ("whole", "broken")]
    assert best[0][-1] == best[1][-1]
