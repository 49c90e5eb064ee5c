"""Training, choosing, calibrating, calling; and packages that give the same probabilities."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from phenostream.errors import ChangedError, DamagedError, LedgerError, NotFoundError, RecipeError
from phenostream.profiles.phenotypes import Labelled, load, save, train
from phenostream.profiles.phenotypes.applying import write_calls
from phenostream.profiles.phenotypes.classifier import select
from phenostream.profiles.phenotypes.registry import model_names, model_settings
from phenostream.values import Column, with_columns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def cells(count: int = 400, seed: int = 0) -> Labelled:
    rng = np.random.default_rng(seed)
    label, image = rng.integers(0, 3, count), rng.integers(0, 30, count)
    centres = np.random.default_rng(7).normal(size=(3, 8))
    values = centres[label] + 0.3 * rng.normal(size=(30, 8))[image] + 0.8 * rng.normal(size=(count, 8))
    names = tuple(f"f{one}" for one in range(8))
    return Labelled(values, names, ("a", "b", "c"), label, {"image": image.astype(str)}, np.arange(count).astype(str))


def table(known: Labelled) -> pa.Table:
    made = pa.table({"CellId": known.ids.tolist(), **dict(zip(known.features, known.values.T, strict=True))})
    return with_columns(made, [Column(name) for name in known.features])


@pytest.mark.parametrize("name", model_names())
def test_a_model_learns_and_its_package_gives_the_same_probabilities(name: str, tmp_path: Path) -> None:
    known, new = cells(), cells(200, seed=1)
    made = train(known, name)
    chances = made.probabilities(new.values)
    assert (chances.argmax(axis=1) == new.label).mean() > 0.75
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    folder = save(made, tmp_path / "classifier")
    again = load(folder)
    np.testing.assert_allclose(again.probabilities(new.values), chances, atol=1e-12)
    assert again.provenance == json.loads(json.dumps(made.provenance))
    assert sorted(path.name for path in folder.iterdir()) == ["classifier.json", "weights.safetensors"]


def test_candidates_are_compared_on_groups_that_were_held_out() -> None:
    known = cells()
    settings = model_settings("discriminant", {"shrinkage": [0.05, 0.999]})
    found = select(known, "discriminant", settings)
    assert found.place == 0
    assert found.candidates[0]["log_loss"] < found.candidates[1]["log_loss"]
    assert 0.3 < found.temperature < 5


def test_where_no_class_is_in_two_groups_cells_are_held_out_and_it_is_told() -> None:
    known = cells()
    apart = known.__class__(
        known.values, known.features, known.classes, known.label, {"image": known.label.astype(str)}, known.ids
    )
    assert train(apart).provenance["selection"]["by"] == "cell"
    assert train(known).provenance["selection"]["by"] == "image"


def test_calibration_makes_held_out_probabilities_truer() -> None:
    from phenostream.benchmark.metrics.calibration_error import calibration_error

    known, new = cells(), cells(2000, seed=2)
    made = train(known, "elastic_net", {"C": [100.0], "iterations": 500})
    sharp = made.__class__(
        **{**{name: getattr(made, name) for name in made.__slots__}, "temperature": made.temperature / 3}
    )
    errors = [calibration_error(new.truth, one.probabilities(new.values), new.classes) for one in (made, sharp)]
    assert errors[0] < errors[1]


def test_a_table_is_called_piece_by_piece(tmp_path: Path) -> None:
    known, new = cells(), cells(300, seed=1)
    made = train(known)
    gaps = table(new).set_column(1, pa.field("f0", pa.float64()), pa.array([None] * 300, pa.float64()))
    for place in range(2, 6):
        values = [None] * 5 + gaps.column(place).to_pylist()[5:]
        gaps = gaps.set_column(place, gaps.schema.field(place), pa.array(values, pa.float64()))
    whole = made.apply(table(new)).tables()
    calls = pa.concat_tables(list(whole))
    assert calls.column_names[:3] == ["CellId", "Phenotype", "Phenotype_Probability"]
    expected = np.array(["a", "b", "c"])[made.probabilities(new.values).argmax(axis=1)]
    assert calls["Phenotype"].to_pylist() == expected.tolist()
    told = write_calls(made, with_columns(gaps, [Column(name) for name in new.features]), tmp_path / "called.parquet")
    assert told["not_called"] == 5
    assert sum(told["called"].values()) == 295
    written = pq.read_table(tmp_path / "called.parquet")
    assert written["Phenotype"].null_count == 5
    assert written["Phenotype_FeaturesMissing"].to_pylist()[0] == pytest.approx(5 / 8)


def test_memory_does_not_grow_with_the_table(
    tmp_path: Path, peak_memory: Callable[[Callable[[], object]], int]
) -> None:
    """Ten times the rows: as much memory, but for a tenth."""
    made, peaks = train(cells()), []
    for count in (1000, 10_000, 100_000):
        pq.write_table(table(cells(count, seed=3)), tmp_path / "cells.parquet", row_group_size=5000)
        peaks.append(peak_memory(lambda: deque(made.apply(tmp_path / "cells.parquet").tables(), maxlen=0)))
    assert peaks[2] < 1.1 * peaks[1]


def test_bad_requests_are_named() -> None:
    known = cells()
    with pytest.raises(RecipeError, match="no model 'forest'"):
        train(known, "forest")
    with pytest.raises(RecipeError, match="shrinkage"):
        train(known, "discriminant", {"shrinkage": []})
    with pytest.raises(RecipeError, match="no training cell of class 'c'"):
        train(known.rows(np.flatnonzero(known.label < 2)))
    with pytest.raises(NotFoundError, match="f7"):
        train(known).apply(table(known).drop_columns(["f7"]))


def test_damaged_packages_are_named(tmp_path: Path) -> None:
    folder = save(train(cells()), tmp_path / "classifier")
    told = json.loads((folder / "classifier.json").read_text())
    (folder / "classifier.json").write_text(json.dumps({**told, "version": 99}))
    with pytest.raises(LedgerError, match="newer"):
        load(folder)
    (folder / "classifier.json").write_text(json.dumps({**told, "features": told["features"][:-1]}))
    with pytest.raises(DamagedError, match="do not fit"):
        load(folder)
    (folder / "classifier.json").write_text("{")
    with pytest.raises(DamagedError, match="no classifier"):
        load(folder)
    (folder / "classifier.json").write_text(json.dumps(told))
    (folder / "weights.safetensors").write_bytes(b"other")
    with pytest.raises(ChangedError, match="sha256"):
        load(folder)
    with pytest.raises(NotFoundError):
        load(tmp_path / "nowhere")
