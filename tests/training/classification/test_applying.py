"""From a pack to scores: sites without a label, without pixels, and those that have chosen the weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from phenostream import datasets, training
from phenostream.benchmark.scoring import score
from phenostream.cli.score import score as command
from phenostream.datasets import PackSettings
from phenostream.errors import EmptyError
from phenostream.synthetic.screen import ScreenDesign, fields, write_screen
from phenostream.training import FitSettings, fit, registry
from phenostream.training.classification.applying import embed_pack, write_embeddings
from phenostream.values import Field

DESIGN = ScreenDesign(
    experiments=("RPE-01", "RPE-02", "RPE-03", "RPE-04"), test_experiments=("RPE-04",),
    perturbations=4, positives=1, negatives=2, shape=(32, 40), missing=0.0, dead=0.0,
)  # fmt: skip
HELD = {"train": {"experiment": "RPE-01"}, "keep": {"experiment": "RPE-02"}}
QUICK = {"draws": 20, "null": 100}


def settings(pack: Path) -> dict[str, object]:
    return {
        "pack": str(pack), "split": HELD, "network": "resnet", "embedding": 8, "turns": 1, "normalise": "plate",
        "shape": {"depth": 18, "width": 4, "stem": "small"},
    }  # fmt: skip


def printed(*words: str) -> str:
    app = typer.Typer()
    app.command()(command)
    given = [*words, *(part for name, value in QUICK.items() for part in ("--set", f"{name}={value}"))]
    found = CliRunner().invoke(app, given, catch_exceptions=False)
    assert found.exit_code == 0
    return found.stdout


@pytest.fixture(scope="module")
def competition(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Pack and package of a screen as the competition gave it: of its test wells nobody is told what they hold."""
    folder = tmp_path_factory.mktemp("competition")
    tables = write_screen(folder / "screen", DESIGN, dialect="kaggle")
    source = {"catalog": "rxrx", "base": str(folder / "screen" / "images"), "metadata": str(tables)}
    datasets.pack(datasets.open_screen(source), folder / "pack")
    train = {"epochs": 1, "batch_size": 8, "tensorboard": False, "monitor": "accuracy", "patience": 3}
    training.train(
        {"task": "classify", "settings": settings(folder / "pack"), "train": train}, folder / "fit", device="cpu"
    )
    return folder / "pack", folder / "fit" / "package"


def test_wells_of_a_competition_without_a_label_are_counted_and_never_judged(
    competition: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, package = competition
    pack = datasets.open_pack(folder)
    write_embeddings(package, pack, tmp_path / "all.parquet", threads=1)
    told = score(tmp_path / "all.parquet", **QUICK)
    assert told["screen"]["sites_without_label"] == 4 * 2, "four treatments of RPE-04, two sites each"
    assert told["screen"]["experiments"] == ["RPE-03"]
    assert told["screen"]["perturbations"] == 4
    labelled = score(embed_pack(package, pack, where={"dataset": "train"}, threads=1), **QUICK)
    assert labelled["screen"]["sites_without_label"] == 0
    assert told["accuracy"] == labelled["accuracy"]
    assert told["embedding"] == labelled["embedding"]
    assert "8 sites without a label are not judged" in printed(str(tmp_path / "all.parquet"))


def test_a_screen_without_any_label_is_refused(competition: tuple[Path, Path]) -> None:
    folder, package = competition
    table = embed_pack(package, datasets.open_pack(folder), where={"dataset": "test"}, threads=1)
    with pytest.raises(EmptyError, match="none of the 8 treated sites of unseen experiments has a Metadata_Sirna_Id"):
        score(table, **QUICK)


def odd(well: str, pixels: np.ndarray) -> Field:
    """A treated site of an unseen experiment whose pixels are these."""
    like = next(
        one for one in fields(DESIGN)
        if one.annotation["experiment"] == "RPE-03" and one.annotation["well_type"] == "treatment"
    )  # fmt: skip
    return dataclasses.replace(like, id=dataclasses.replace(like.id, well=well), pixels=lambda: pixels)


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack in which one site stands as zeros for want of its pixels, and one is black indeed."""
    folder = tmp_path_factory.mktemp("faulty")
    sites = [*fields(DESIGN), odd("P20", np.ones((6, 20, 20), np.uint8)), odd("P21", np.zeros((6, 32, 40), np.uint8))]
    told = datasets.pack(sites, folder, settings=PackSettings(faults="keep-blank"))
    assert told.kept_blank == 1
    return folder


def test_a_screen_with_faults_is_learnt_from(faulty: Path, tmp_path: Path) -> None:
    task = registry.build("classify", registry.settings("classify", settings(faulty)))
    told = fit(task, FitSettings(epochs=1, batch_size=8, tensorboard=False), folder=tmp_path, device="cpu")
    assert np.isfinite(list(told.metrics.values())).all()


def test_sites_at_fault_are_named_in_the_table_and_left_out_of_scores(
    faulty: Path, competition: tuple[Path, Path], tmp_path: Path
) -> None:
    pack = datasets.open_pack(faulty)
    assert write_embeddings(competition[1], pack, tmp_path / "t.parquet", threads=1) == len(pack)
    table = pq.read_table(tmp_path / "t.parquet")
    reasons = table["Metadata_Left_Out"].to_pylist()
    empty = [row for row in table.to_pylist() if row["Metadata_Left_Out"]]
    assert [row["Metadata_Left_Out"] for row in sorted(empty, key=lambda row: row["Metadata_Well"])] == [
        "wrong-shape",
        "blank",
    ]
    numbers = [name for name in table.column_names if not name.startswith("Metadata_")]
    assert all(row[name] is None for row in empty for name in numbers)
    assert sum(table[name].null_count for name in numbers) == 2 * len(numbers)
    told = score(tmp_path / "t.parquet", **QUICK)
    assert told["screen"].pop("sites_left_out") == {"blank": 1, "wrong-shape": 1}
    whole = score(table.filter(np.array([reason is None for reason in reasons])), **QUICK)
    assert whole["screen"].pop("sites_left_out") == {}
    assert told == whole
    assert "2 sites have no numbers: 1 blank, 1 wrong-shape" in printed(str(tmp_path / "t.parquet"))


def test_a_choice_of_nothing_but_faults_is_refused(faulty: Path, competition: tuple[Path, Path]) -> None:
    with pytest.raises(EmptyError, match="none of the 2 sites has pixels"):
        embed_pack(competition[1], datasets.open_pack(faulty), where={"well": ["P20", "P21"]}, threads=1)


def test_experiments_that_chose_the_weights_are_seen(competition: tuple[Path, Path]) -> None:
    """What a validation has picked the best step on is no witness of it."""
    folder, package = competition
    table = embed_pack(package, datasets.open_pack(folder), threads=1)
    seen = dict(zip(table["Metadata_Experiment"].to_pylist(), table["Metadata_Seen"].to_pylist(), strict=True))
    assert seen == {"RPE-01": "plate", "RPE-02": "validation", "RPE-03": "no", "RPE-04": "no"}
    assert score(table, **QUICK)["screen"]["experiments"] == ["RPE-03"]
