"""Mechanisms: rules on a small table, the published figure on BBBC021, and honesty about compounds left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv

from phenostream.benchmark.mechanisms import MechanismSettings, leave_compound_out, mechanisms
from phenostream.errors import NotFoundError, RecipeError
from phenostream.profiles.operating import operate
from phenostream.profiles.roles import described

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
