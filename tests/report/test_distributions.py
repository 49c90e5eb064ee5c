"""Histograms against NumPy, and which features they are of."""

from __future__ import annotations

import numpy as np

from phenostream.profiles import read_profiles
from phenostream.report import survey as room
from phenostream.report.design import Settings
from phenostream.report.distributions import distributions as of_survey
from phenostream.report.facts import gather
from phenostream.report.rows import RunRows
from phenostream.report.survey import survey


def distributions(facts):
    return of_survey(survey(RunRows(facts), Settings()))


def test_histograms_of_a_run(run):
    told = distributions(gather(run))
    assert [one.name for one in told.histograms] == [
        "Nuclei_AreaShape_Area", "Nuclei_AreaShape_FormFactor", "Nuclei_AreaShape_Eccentricity",
        "Nuclei_Intensity_MeanIntensity_DNA", "Nuclei_Intensity_IntegratedIntensity_DNA",
        "Nuclei_Intensity_StdIntensity_DNA", "Nuclei_Neighbors_FirstClosestDistance_Adjacent",
        "Nuclei_Granularity_1_DNA",
    ]  # fmt: skip
    values = read_profiles(run, ["Nuclei_AreaShape_Area"]).column(0).to_numpy()
    assert told.sampled == len(values)
    low, high = np.percentile(values.astype(float), [0.5, 99.5])
    counts, _ = np.histogram(values, 40, (low, high))
    heights = np.array([bar.height for bar in told.histograms[0].bars])
    np.testing.assert_allclose(heights, counts / counts.max(), atol=1e-4)
    assert told.histograms[0].median == f"{np.median(values):.0f}"


def test_a_large_run_is_sampled_the_same_way_each_time(run, monkeypatch):
    monkeypatch.setattr(room, "SAMPLED", 300)
    first, again = (distributions(gather(run)) for _ in range(2))
    assert first == again
    assert first.sampled == 300


def test_nothing_measured_nothing_shown(folder):
    folder.add(state="waiting")
    assert distributions(gather(folder.path)).histograms == []


def test_a_field_without_cells_and_a_constant_feature(folder):
    folder.add(cells=0)
    assert distributions(gather(folder.path)).histograms == []
