"""Plates: layout, response to doses, plate effects, wells that went wrong, movies."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from phenostream.errors import RecipeError
from phenostream.synthetic.plates import Design, response, scenes, wells

SMALL = Design(shape=(256, 256), nuclei=20)


def first(design, well, site=1):
    return next(iter(scenes(design, well, site)))


def by_name(design):
    return {well.name: well for well in wells(design)}


def test_the_layout():
    found = by_name(Design(rows=2, columns=4, doses=(1.0, 10.0)))
    assert list(found) == ["A1", "A2", "A3", "A4", "B1", "B2", "B3", "B4"]
    assert [found[name].number for name in ("A1", "A4", "B1")] == [1, 4, 25]
    assert [found[name].control for name in ("A1", "A2", "A4")] == ["negative control", "", "positive control"]
    assert [found[name].dose for name in ("A1", "A2", "A3")] == [0.0, 1.0, 10.0]
    assert found["B2"].gene == "GENE2"


@pytest.mark.parametrize("wrong", [{"rows": 17}, {"columns": 1}, {"columns": 25}, {"sites": 0}, {"frames": 0}])
def test_no_such_plate(wrong):
    with pytest.raises(RecipeError, match="no plate of"):
        Design(**wrong)


def test_the_response_is_a_hill_curve():
    assert response(0, 1.0) == 0
    assert response(1.0, 1.0) == 0.5
    assert response(1000, 1.0) == pytest.approx(1, abs=1e-4)


def test_the_dose_moves_the_second_channel_and_costs_cells():
    design = dataclasses.replace(SMALL, rows=1, columns=4, doses=(0.3, 3.0), nuclei=40, shape=(512, 512))
    ratios, counts = [], []
    for well in wells(design):
        fields = [first(design, well, site) for site in range(1, 5)]
        ratios.append(np.mean(np.concatenate([scene.cells.ratio for scene in fields])))
        counts.append(sum(len(scene.cells) for scene in fields))
    assert ratios == sorted(ratios)
    assert ratios[-1] > 3 * ratios[0]
    assert counts[-1] < 0.8 * counts[0]


def test_fields_do_not_depend_on_one_another():
    well = wells(SMALL)[3]
    np.testing.assert_array_equal(first(SMALL, well).image, first(SMALL, well).image)
    assert (first(SMALL, well).image != first(SMALL, well, site=2).image).any()
    reseeded = dataclasses.replace(SMALL, seed=1)
    assert (first(SMALL, well).image != first(reseeded, well).image).any()


def test_plates_differ_in_brightness():
    def bright(name):
        design = dataclasses.replace(SMALL, name=name, plate_effect=0.5)
        return np.mean(first(design, wells(design)[0]).cells.level)

    assert len({round(bright(f"P{number}"), 1) for number in range(5)}) > 2


def test_wells_that_went_wrong():
    design = dataclasses.replace(SMALL, nuclei=60, troubles={"A1": "empty", "B1": "dead", "C1": "blurred"})
    good, (empty, dead, blurred) = by_name(design)["D1"], (by_name(design)[name] for name in ("A1", "B1", "C1"))
    assert len(first(design, empty).cells) == 0
    assert 0 < len(first(design, dead).cells) < 0.4 * len(first(design, good).cells)
    assert (
        np.abs(np.diff(first(design, blurred).light[0])).max()
        < 0.5 * np.abs(np.diff(first(design, good).light[0])).max()
    )


def test_a_movie_shows_the_same_nuclei_moving():
    design = dataclasses.replace(SMALL, frames=4, channels=("DNA",))
    frames = list(scenes(design, wells(design)[0]))
    assert len(frames) == 4
    known = [
        {tuple(grain): centre for grain, centre in zip(one.cells.grain, one.cells.centre, strict=True)}
        for one in frames
    ]
    shared = known[0].keys() & known[3].keys()
    assert len(shared) > 0.8 * len(known[0])
    steps = [np.hypot(*(known[3][key] - known[0][key])) for key in shared]
    assert 0.3 < np.mean(steps) < 5
