"""One walk over the rows against Arrow's and NumPy's own answers, in pieces of any size."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from phenostream.report import survey as room
from phenostream.report.design import Settings
from phenostream.report.rows import ParquetRows
from phenostream.report.survey import survey
from phenostream.values import Column, with_columns


def table(rows, seed=0):
    rng = np.random.default_rng(seed)
    wells = rng.integers(0, 20, rows)
    columns = {
        "CellId": [f"{at:08x}" for at in range(rows)], "Metadata_Plate": np.where(wells < 10, "P1", "P2").tolist(),
        "Metadata_Well": [f"A{at % 10 + 1}" for at in wells], "Metadata_Compound": [f"c{at % 5}" for at in wells],
        **{f"Nuclei_F{at}": rng.normal(at, 1, rows).astype(np.float32) for at in range(12)},
    }  # fmt: skip
    columns["Nuclei_F3"][::7] = np.nan
    columns["Nuclei_F4"][::11] = np.inf
    told = [Column(name, "feature" if name.startswith("Nuclei") else "metadata") for name in columns]
    return with_columns(pa.table(columns), told)


@pytest.fixture
def found(tmp_path):
    made = table(5000)
    pq.write_table(made, tmp_path / "t.parquet", row_group_size=700)
    return made, survey(ParquetRows.of(tmp_path / "t.parquet"), Settings(cells=100))


def test_means_by_well(found):
    made, told = found
    assert told.wells[:3] == [("P1", "A1"), ("P1", "A2"), ("P1", "A3")]
    assert told.wells[9:11] == [("P1", "A10"), ("P2", "A1")]
    frame = {name: np.array(made.column(name).to_pylist()) for name in made.column_names}
    for at, (plate, well) in enumerate(told.wells):
        inside = (frame["Metadata_Plate"] == plate) & (frame["Metadata_Well"] == well)
        assert told.counts[at] == inside.sum()
        for column in (0, 3, 4):
            values = frame[f"Nuclei_F{column}"][inside].astype(float)
            assert told.means[at, column] == pytest.approx(values[np.isfinite(values)].mean(), rel=1e-6)
    assert set(told.groups) == {"Metadata_Compound"}
    assert told.groups["Metadata_Compound"][:3] == ["c0", "c1", "c2"]
    assert told.duplicates == told.unplaced == 0


def test_the_sample_is_of_the_rows_it_names(found):
    made, told = found
    assert len(told.shown.rows) == 100
    assert len(np.unique(told.shown.rows)) == 100
    for name, column in (("Nuclei_F0", 0), ("Nuclei_F11", 11)):
        np.testing.assert_array_equal(told.shown.values[:, column], made.column(name).to_numpy()[told.shown.rows])
    assert told.shown.metadata.column("CellId").to_pylist() == made.column("CellId").take(told.shown.rows).to_pylist()


def test_pieces_and_blocks_do_not_matter(tmp_path, monkeypatch):
    made, told = table(3000), []
    for size, decoded, once in ((3000, 10**9, 10**6), (100, 1000, 17), (999, 24_000, 100)):
        monkeypatch.setattr(room, "_DECODED", decoded)
        monkeypatch.setattr(room, "_AT_ONCE", once)
        pq.write_table(made, tmp_path / "t.parquet", row_group_size=size)
        told.append(survey(ParquetRows.of(tmp_path / "t.parquet"), Settings(cells=50)))
    for other in told[1:]:
        np.testing.assert_allclose(other.means, told[0].means, rtol=1e-9)
        np.testing.assert_array_equal(other.shown.rows, told[0].shown.rows)
        np.testing.assert_array_equal(other.shown.values, told[0].shown.values)
        np.testing.assert_array_equal(other.sample.rows, told[0].sample.rows)


def test_the_sample_is_fair(tmp_path):
    """Each tenth of the rows is drawn about equally often over many seeds (chi-squared below its 99.9th percentile)."""
    pq.write_table(table(1000), tmp_path / "t.parquet", row_group_size=130)
    rows = ParquetRows.of(tmp_path / "t.parquet")
    drawn = [survey(rows, Settings(cells=20, seed=seed)).shown.rows for seed in range(20)]
    counts = np.histogram(np.concatenate(drawn), 10, (0, 1000))[0]
    assert ((counts - 40) ** 2 / 40).sum() < 27.88


def test_memory_does_not_grow_with_the_rows(tmp_path, monkeypatch, peak_memory):
    """Ten times the rows of 120 bytes: of each further row, few bytes in NumPy's arrays and Arrow's together."""
    monkeypatch.setattr(room, "SAMPLED", 500)
    rng, peaks = np.random.default_rng(0), []
    wide = pa.table({f"Nuclei_F{at}": rng.normal(size=4000).astype(np.float32) for at in range(30)})
    made = with_columns(wide, [Column(name) for name in wide.column_names])
    for groups in (1, 2, 20):
        with pq.ParquetWriter(tmp_path / "t.parquet", made.schema) as writer:
            for _ in range(groups):
                writer.write_table(made)
        peaks.append(peak_memory(lambda: survey(ParquetRows.of(tmp_path / "t.parquet"), Settings(cells=50))))
    assert (peaks[2] - peaks[1]) / 72_000 < 24, peaks


def test_no_rows_at_all(tmp_path):
    pq.write_table(table(10).slice(0, 0), tmp_path / "t.parquet")
    told = survey(ParquetRows.of(tmp_path / "t.parquet"), Settings())
    assert (told.rows, told.wells, len(told.sample.rows)) == (0, [], 0)
