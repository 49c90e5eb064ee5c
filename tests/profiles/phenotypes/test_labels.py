"""Labelled cells: what is left out is counted, what is wrong is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from phenostream.errors import DamagedError, NotFoundError, RecipeError
from phenostream.profiles.phenotypes import labelled
from phenostream.values import Column, with_columns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def table(**more: object) -> pa.Table:
    rng = np.random.default_rng(0)
    given = {
        "CellId": [f"id{one}" for one in range(20)],
        "Metadata_Plate": ["P1"] * 10 + ["P2"] * 10,
        "Metadata_Well": [str(one // 5) for one in range(20)],
        "Metadata_Image": [str(one // 2) for one in range(20)],
        "Metadata_Phenotype": ["round", "long"] * 10,
        "area": rng.normal(size=20),
        "place": rng.normal(size=20),
        **more,
    }
    told = [Column(name) for name in given if not name.startswith("Metadata_") and name != "CellId"]
    told = [Column("place", positional=True) if one.name == "place" else one for one in told]
    return with_columns(pa.table(given), told)


def test_features_groups_and_classes() -> None:
    found = labelled(table())
    assert found.features == ("area",)
    assert found.classes == ("long", "round")
    assert found.truth.tolist() == ["round", "long"] * 10
    assert {name: len(set(codes)) for name, codes in found.groups.items()} == {"image": 10, "well": 4, "plate": 2}
    assert len(found.rows(np.array([1, 3]))) == 2


def test_a_class_with_one_member_is_a_counted_exclusion() -> None:
    found = labelled(table(Metadata_Phenotype=["odd", *(["round", "long"] * 9), "round"]), exclude=[])
    assert found.excluded["classes"] == [{"name": "odd", "cells": 1, "reason": "fewer than 2 cells"}]
    assert len(found) == 19
    asked = labelled(table(Metadata_Phenotype=["a", "b", "c", "b"] * 5), exclude=["c"])
    assert asked.excluded["classes"] == [{"name": "c", "cells": 5, "reason": "left out as asked"}]


def test_constant_and_empty_features_are_counted_exclusions() -> None:
    found = labelled(table(flat=[3.0] * 20, empty=pa.array([None] * 20, pa.float64()), gap=[None, *np.arange(19.0)]))
    assert found.excluded["features"] == {"constant": ["flat"], "no numbers": ["empty"]}
    assert found.features == ("area", "gap")
    assert np.isnan(found.values[0, 1])


def test_rows_without_label_take_no_part() -> None:
    assert len(labelled(table(Metadata_Phenotype=[None, None, *(["round", "long"] * 9)]))) == 18


def test_an_empty_text_is_no_label_and_is_counted() -> None:
    found = labelled(table(Metadata_Phenotype=["", None, "", *(["round", "long"] * 8), "round"]))
    assert found.classes == ("long", "round")
    assert len(found) == 17
    assert found.excluded["unlabelled"] == 3
    assert found.excluded["classes"] == []
    assert labelled(table()).excluded["unlabelled"] == 0


def test_memory_holds_the_labelled_rows(tmp_path: Path, peak_memory: Callable[[Callable[[], object]], int]) -> None:
    """Ten times the rows, as many labels: as much memory, but for a tenth."""
    peaks = []
    for pieces in (1, 2, 20):
        with pq.ParquetWriter(tmp_path / "cells.parquet", wide(0).schema) as writer:
            for place in range(pieces):
                writer.write_table(wide(100 if place == 0 else 0))
        peaks.append(peak_memory(lambda: labelled(tmp_path / "cells.parquet", groups={})))
    assert peaks[2] < 1.1 * peaks[1]


def wide(labels: int) -> pa.Table:
    rng = np.random.default_rng(0)
    known = ["round" if row % 2 else "long" for row in range(labels)]
    columns: dict[str, object] = {"Metadata_Phenotype": pa.array(known + [None] * (2000 - labels), pa.string())}
    columns |= {f"f{place}": rng.normal(size=2000) for place in range(20)}
    return with_columns(pa.table(columns), [Column(f"f{place}") for place in range(20)])


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(NotFoundError, match="Metadata_Class"):
        labelled(table(), label="Metadata_Class")
    with pytest.raises(NotFoundError, match="Metadata_Donor"):
        labelled(table(), groups={"donor": ["Metadata_Donor"]})
    with pytest.raises(DamagedError, match="1 cell ids stand twice or more, first id1"):
        labelled(table(CellId=["id1", *[f"id{one}" for one in range(1, 20)]]))
    with pytest.raises(RecipeError, match="two classes"):
        labelled(table(), exclude=["round"])
    with pytest.raises(RecipeError, match="varies"):
        labelled(table(area=[1.0] * 20))
    with pytest.raises(RecipeError, match="not numbers"):
        labelled(table(area=["large"] * 20))
