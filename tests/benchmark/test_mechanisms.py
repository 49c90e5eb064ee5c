"""Mechanisms: rules on a small table, the published figure on BBBC021, and honesty about compounds left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv

from phenostream.benchmark.mechanisms import MechanismSettings, leave_compound_out, mechanisms, treated
from phenostream.benchmark.statistics import bootstrap
from phenostream.errors import NotFoundError, RecipeError
from phenostream.profiles.operating import operate
from phenostream.profiles.operations.replicates import whitening, within_covariance
from phenostream.profiles.roles import described
from phenostream.profiles.statistics import matrix
from phenostream.profiles.tables import feature_names

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COMPOUND, DOSE = "Image_Metadata_Compound", "Image_Metadata_Concentration"


def wells() -> pa.Table:
    rng = np.random.default_rng(0)
    rows = [
        (f"drug{d}", dose, f"aim{d // 2}", f"week{d % 3}") for d in range(8) for dose in ("1", "2") for _ in range(3)
    ]
    aim = rng.normal(size=(4, 12))
    values = np.array([aim[int(row[2][3:])] + 0.3 * rng.normal(size=12) for row in rows])
    columns = {
        f"Metadata_{name}": [row[place] for row in rows]
        for place, name in enumerate(("Compound", "Concentration", "Mechanism", "Week"))
    }
    return described(pa.table({**columns, **{f"Cells_Intensity_F{one}_DNA": values[:, one] for one in range(12)}}))


def test_mechanisms_that_show_are_found() -> None:
    found = mechanisms(wells(), batch="Metadata_Week", draws=50)
    assert found.told["treatments"] == 16
    assert found.told["nsc"]["accuracy"] == 1
    assert found.table().num_rows == 16
    assert found.told["nscb"]["answerable"] == 16
    assert found.table().column("nsc_right").to_pylist() == [True] * 16


def test_rows_without_mechanism_are_counted() -> None:
    table = wells()
    aims = table.column("Metadata_Mechanism").to_pylist()
    aims[:6] = [None] * 6
    place = table.column_names.index("Metadata_Mechanism")
    told = mechanisms(table.set_column(place, table.schema.field(place), pa.array(aims)), draws=0).told
    assert told["rows_without_mechanism"] == 6
    assert told["treatments"] == 14
    assert "interval" not in told["nsc"]


def changed(table: pa.Table, name: str, change: Callable[[int, object], object]) -> pa.Table:
    """`table` with another value in every row of one column."""
    place = table.column_names.index(name)
    values = [change(row, one) for row, one in enumerate(table.column(name).to_pylist())]
    return table.set_column(place, table.schema.field(place), pa.array(values))


def test_wells_without_compound_are_no_compound() -> None:
    table = changed(wells(), "Metadata_Compound", lambda row, one: (None, "")[row] if row < 2 else one)
    told = mechanisms(table, draws=0).told
    assert (told["rows_without_annotation"], told["rows_without_mechanism"]) == (2, 0)
    assert (told["treatments"], told["compounds"]) == (16, 8)


def test_a_well_without_numbers_is_left_out_of_its_treatment() -> None:
    table = wells()
    for place in range(12):
        table = changed(table, f"Cells_Intensity_F{place}_DNA", lambda row, one: None if row == 4 else one)
    found = mechanisms(table, draws=0)
    assert (found.told["profiles_empty"], found.told["features"], found.told["treatments"]) == (1, 12, 16)
    np.testing.assert_allclose(found.treatments.profiles[0], mechanisms(wells(), draws=0).treatments.profiles[0])


def test_intervals_are_of_the_figure_they_stand_beside() -> None:
    # The first mechanism was seen in one week only: all its allowed neighbours are of other mechanisms.
    table = changed(wells(), "Metadata_Week", lambda row, _: "week0" if row < 12 else f"week{row // 6 % 2}")
    found = mechanisms(table, batch="Metadata_Week", draws=200)
    told, asked = found.told["nscb"], found.nscb.neighbour >= 0
    assert found.told["nsc"]["interval"]["low"] == 1
    assert found.told["nsc"]["interval"] == found.told["nsc"]["answerable_interval"]
    answerable = found.nscb.answerable
    assert 0 < answerable.sum() < asked.sum()
    for name, among in (("interval", asked), ("answerable_interval", answerable)):
        right, drugs = found.nscb.right[among], found.treatments.compounds[among].astype(str)
        expected = bootstrap(lambda rows, right=right: float(right[rows].mean()), drugs, draws=200)
        assert (told[name]["low"], told[name]["high"]) == (expected.low, expected.high)


def test_who_has_no_neighbour_is_no_mistake() -> None:
    # One compound was made in both batches, and so has no neighbour of another batch.
    table = pa.concat_tables([wells(), wells()])
    table = changed(table, "Metadata_Week", lambda row, one: f"week{row // 48}" if one else one)
    batches = [f"week{row // 48}" for row in range(96)]
    table = changed(table, "Metadata_Compound", lambda row, one: one if one == "drug0" else f"{one} {batches[row]}")
    told = mechanisms(table, batch="Metadata_Week", draws=100).told["nscb"]
    assert (told["asked"], told["accuracy"]) == (28, 1)
    assert (told["interval"]["low"], told["interval"]["high"]) == (1, 1)


def test_bad_tables_are_named() -> None:
    with pytest.raises(NotFoundError, match="Metadata_Target"):
        mechanisms(wells(), mechanism="Metadata_Target")
    with pytest.raises(RecipeError, match="two mechanisms"):
        mechanisms(wells(), treatment=("Metadata_Concentration",))
    with pytest.raises(RecipeError, match="no two rows"):
        mechanisms(wells(), exclude=("aim0", "aim1", "aim2", "aim3"))


def test_a_choice_that_only_fits_what_it_has_seen_does_not_pass() -> None:
    rng = np.random.default_rng(0)
    aims, drugs = np.repeat(np.arange(4), 10), np.repeat(np.arange(20), 2)
    noise = rng.normal(size=(40, 6))

    def cheat(seen: np.ndarray, candidate: str) -> np.ndarray:
        # The candidate "peek" writes the mechanism into the profiles that may be fitted on, and only there.
        return np.where((seen & (candidate == "peek"))[:, None], 10 * np.eye(6)[aims], noise)

    found = leave_compound_out(cheat, ["plain", "peek"], aims, drugs)
    assert found.each["peek"] == 1
    assert found.accuracy < 0.6
    assert set(found.chosen.values()) == {"peek"}
    with pytest.raises(RecipeError, match="candidate"):
        leave_compound_out(cheat, [], aims, drugs)


@pytest.fixture(scope="module")
def bbbc021(data: Path) -> pa.Table:
    folder = data / "fields/profiles_bbbc021"
    table = csv.read_csv(folder / "ljosa_jbiomolscreen_2013_per_well_mean.csv.gz")
    images = csv.read_csv(folder / "BBBC021_v1_image.csv.gz").to_pylist()
    known = {
        (row["compound"], row["concentration"]): row["moa"]
        for row in csv.read_csv(folder / "BBBC021_v1_moa.csv").to_pylist()
    }
    place = {
        (row["Image_Metadata_Plate_DAPI"], row["Image_Metadata_Well_DAPI"]): (row[COMPOUND], row[DOSE])
        for row in images
    }
    told = [
        place[row]
        for row in zip(*(table[f"Image_Metadata_{one}"].to_pylist() for one in ("Plate", "Well")), strict=True)
    ]
    made = {
        COMPOUND: [one for one, _ in told],
        DOSE: [str(one) for _, one in told],
        "moa": [known.get(one) for one in told],
    }
    for name, values in made.items():
        table = table.append_column(name, pa.array(values))
    controls = {COMPOUND: "DMSO"}
    return operate(described(table), "normalise", by=["Image_Metadata_Plate"], controls=controls).table()


SETTINGS = MechanismSettings(mechanism="moa", compound=COMPOUND, treatment=(COMPOUND, DOSE), exclude=("DMSO",), draws=0)


def test_bbbc021_gives_the_published_accuracy_with_plain_means(bbbc021: pa.Table) -> None:
    told = mechanisms(bbbc021, SETTINGS).told
    assert told["treatments"] == 103
    assert 0.82 <= told["nsc"]["accuracy"] <= 0.84


def test_bbbc021_gains_from_whitening_by_replicates(bbbc021: pa.Table) -> None:
    kept = operate(bbbc021, "select", rules=["missing"]).table()
    compressed = operate(kept, "compress", width=3.0).table()
    white = operate(compressed, "replicates", by=[COMPOUND, DOSE], regularisation=0.3).table()
    assert mechanisms(white, SETTINGS).told["nsc"]["accuracy"] >= 0.90


@pytest.mark.slow
def test_bbbc021_keeps_most_of_the_gain_on_compounds_that_nothing_was_chosen_on(bbbc021: pa.Table) -> None:
    kept = operate(bbbc021, "select", rules=["missing"]).table()
    treatments, _ = treated(kept, SETTINGS)
    values = matrix(kept, feature_names(kept.schema))
    words = [" ".join(row) for row in zip(*(kept[one].to_pylist() for one in (COMPOUND, DOSE)), strict=True)]
    number = {name: place for place, name in enumerate(treatments.names)}
    code = np.array([number.get(word, -1) for word in words])
    control = np.array([word.startswith("DMSO") for word in words])

    def fit(seen: np.ndarray, candidate: tuple[float, float]) -> np.ndarray:
        width, strength = candidate
        bent = width * np.arcsinh(values / width)
        fitting = control | ((code >= 0) & seen[np.maximum(code, 0)])
        white = bent @ whitening(within_covariance(bent[fitting], code[fitting] + 1), strength)
        return np.stack([white[code == one].mean(axis=0) for one in range(len(seen))])

    grid = [(width, strength) for width in (1.0, 3.0, 10.0) for strength in (0.3, 1.0)]
    found = leave_compound_out(fit, grid, treatments.mechanisms, treatments.compounds)
    assert len(found.chosen) == 38
    assert found.accuracy >= 0.88
