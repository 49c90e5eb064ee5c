"""Splits against the rule that they state, on tables small enough to be read."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenostream.errors import EmptyError, LeakageError, NotFoundError, RecipeError
from phenostream.training.classification.splits import SplitSettings, split, texts, wells

TABLE = pa.table({
    "experiment": [e for e in ("H-1", "H-2", "R-1", "R-2") for _ in range(8)],
    "plate": [f"{e}_{p}" for e in ("H-1", "H-2", "R-1", "R-2") for p in (1, 2) for _ in range(4)],
    "well": ["B02", "B02", "B03", "B03"] * 8,
    "site": ["1", "2"] * 16,
    "cell_type": [e[0] for e in ("H-1", "H-2", "R-1", "R-2") for _ in range(8)],
    "dataset": [d for d in ("train", "test", "train", "test") for _ in range(8)],
})  # fmt: skip


def test_named_sides_are_taken() -> None:
    told = split(TABLE, SplitSettings(train={"dataset": "train"}, keep={"dataset": "test"}))
    assert texts(TABLE, "experiment")[told.train].tolist() == ["H-1"] * 8 + ["R-1"] * 8
    assert texts(TABLE, "experiment")[told.keep].tolist() == ["H-2"] * 8 + ["R-2"] * 8


@given(st.integers(0, 1))
def test_a_fold_keeps_whole_groups_of_every_cell_type(fold: int) -> None:
    told = split(TABLE, SplitSettings(folds=2, fold=fold))
    kept = texts(TABLE, "experiment")[told.keep]
    assert len(set(kept)) == 2
    assert {name[0] for name in kept} == {"H", "R"}
    assert not set(kept) & set(texts(TABLE, "experiment")[told.train])
    assert len(told.train) + len(told.keep) == len(TABLE)


def test_the_folds_together_keep_every_site_once() -> None:
    kept = np.concatenate([split(TABLE, SplitSettings(folds=4, fold=fold)).keep for fold in range(4)])
    assert sorted(kept.tolist()) == list(range(len(TABLE)))


@pytest.mark.parametrize(
    ("train", "keep", "said"),
    [
        ({"site": 1}, {"site": 2}, "4 experiments .* H-1, H-2, R-1 and 1 more"),
        ({"well": "B02"}, {"well": "B03"}, "experiment"),
        ({"plate": "H-1_1"}, {"plate": "H-1_2"}, "1 experiments .* H-1"),
    ],
)
def test_the_same_experiment_on_both_sides_is_refused(train: dict, keep: dict, said: str) -> None:
    with pytest.raises(LeakageError, match=said):
        split(TABLE, SplitSettings(train=train, keep=keep))


def test_the_levels_are_refused_one_by_one() -> None:
    within = {"train": {"plate": "H-1_1"}, "keep": {"plate": "H-1_2"}}
    assert len(split(TABLE, SplitSettings(**within, apart=("plate",))).keep) == 4
    plates = {"train": {"plate": "H-1_1", "well": "B02"}, "keep": {"plate": "H-1_1", "well": "B03"}}
    with pytest.raises(LeakageError, match="plate"):
        split(TABLE, SplitSettings(**plates, apart=("plate",)))
    assert len(split(TABLE, SplitSettings(**plates, apart=())).keep) == 2
    with pytest.raises(LeakageError, match="well"):
        split(TABLE, SplitSettings(train={"site": 1}, keep={"site": 2}, apart=()))


def test_what_is_kept_is_not_learnt_from() -> None:
    told = split(TABLE, SplitSettings(keep={"dataset": "test"}))
    assert not set(told.train.tolist()) & set(told.keep.tolist())
    assert len(told.train) == 16


def test_bad_divisions_are_named() -> None:
    with pytest.raises(NotFoundError, match="no column 'batch'"):
        split(TABLE, SplitSettings(train={"batch": "1"}))
    with pytest.raises(EmptyError, match=r"no site has dataset valid.*there are test, train"):
        split(TABLE, SplitSettings(keep={"dataset": "valid"}))
    with pytest.raises(EmptyError, match="all of"):
        split(TABLE, SplitSettings(keep={"dataset": "test", "experiment": "H-1"}))
    with pytest.raises(RecipeError, match="4 groups of experiment cannot make 9 folds"):
        split(TABLE, SplitSettings(folds=9))
    with pytest.raises(RecipeError, match="fold 5 of 2"):
        split(TABLE, SplitSettings(folds=2, fold=5))


def test_wells_are_of_their_plates() -> None:
    assert len(set(wells(TABLE).tolist())) == 16
