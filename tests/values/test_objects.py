"""Objects: the labels in use, and identities that stay."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from phenostream.values import FieldId, Objects, cell_id


@given(arrays(np.int32, (5, 7), elements=st.sampled_from([0, 1, 2, 9, 40, 2**31 - 1])))
def test_numbers_are_the_sorted_labels_in_use(labels: np.ndarray) -> None:
    found = Objects(FieldId(), labels).numbers()
    assert found.tolist() == sorted(set(labels.ravel().tolist()) - {0})
    assert found.dtype == np.int32


def test_a_cell_id_is_the_same_tomorrow() -> None:
    assert (
        cell_id(FieldId("idr0013", "LT0001_02", "A4", "1", 49, 0), 7, "classical-1")
        == "73c246cc45b1b626ff612288c4602c62"
    )


def test_every_part_of_the_identity_counts() -> None:
    base = FieldId("s", "P", "A1", "1", 0, 0)
    others = [
        FieldId("t", "P", "A1", "1", 0, 0),
        FieldId("s", "Q", "A1", "1", 0, 0),
        FieldId("s", "P", "A2", "1", 0, 0),
        FieldId("s", "P", "A1", "2", 0, 0),
        FieldId("s", "P", "A1", "1", 1, 0),
        FieldId("s", "P", "A1", "1", 0, 1),
        FieldId("sP", "", "A1", "1", 0, 0),
    ]
    ids = [cell_id(one, 1, "m") for one in (base, *others)] + [cell_id(base, 2, "m"), cell_id(base, 1, "n")]
    assert len(set(ids)) == len(ids)
