"""Features left out: each rule on a feature made for it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from phenostream.errors import NotFoundError, OverBudgetError, RecipeError
from phenostream.profiles.operating import operate
from phenostream.profiles.rank_correlation import rank_correlations
from phenostream.profiles.statistics import frequencies
from phenostream.profiles.tables import Held, open_table, write_table


def test_every_rule_says_which_and_why(cells, names, replaced):
    table = replaced(cells(), **{names[0]: np.ones(240), names[1]: np.where(np.arange(240) % 2, np.nan, 1.0)})
    done = operate(table, "select", rules=["missing", "variance"])
    assert done.told == {"kept": 1, "left_out": {"missing": 1, "variance": 1}}
    assert done.fitted.to_pylist() == [
        {"feature": names[1], "rule": "missing", "value": 0.5},
        {"feature": names[0], "rule": "variance", "value": 0.0},
    ]
    assert names[0] not in done.table().column_names
    assert "Nuclei_AreaShape_Center_X" in done.table().column_names


def test_the_same_features_are_left_out_of_another_table(cells, names, replaced):
    fitted = operate(replaced(cells(), **{names[0]: np.ones(240)}), "select", rules=["variance"]).fitted
    found = operate(cells(seed=3), "select", fitted=fitted).table()
    assert names[0] not in found.column_names
    assert names[1] in found.column_names


def test_exactly_at_the_cut_off_is_kept(cells, names, replaced):
    holes = np.arange(240.0)
    holes[:12] = np.nan
    done = operate(replaced(cells(), **{names[0]: holes}), "select", rules=["missing"], missing=0.05)
    assert done.told["left_out"] == {}


def test_variance_zero_means_constant(cells, names, replaced):
    table = replaced(cells(), **{names[0]: np.full(240, 0.1), names[1]: 1e-9 * np.arange(240)})
    done = operate(table, "select", rules=["variance"], variance=0)
    assert done.fitted["feature"].to_pylist() == [names[0]]


@pytest.mark.parametrize("memory", [1 << 30, 8 * 200])
def test_frequencies_as_pandas(tmp_path, memory):
    rng = np.random.default_rng(4)
    values = np.round(np.exp(rng.normal(size=(260, 6))), 1)
    values[:, 1:3][rng.random((260, 2)) < 0.3] = np.nan
    values[:, 3] = np.nan
    values[:, 4] = np.where(rng.random(260) < 0.5, -0.0, 0.0)
    values[:, 5] = np.arange(260)
    table = pa.table({f"f{place}": values[:, place].astype(np.float32 if place == 5 else float) for place in range(6)})
    rows = rng.permutation(260) < 200
    write_table(Held(table), tmp_path / "values.parquet", rows=50)
    found = frequencies(open_table(tmp_path / "values.parquet"), table.column_names, rows, memory=memory)
    frame = table.to_pandas()[rows]
    for (different, most, second), name in zip(found.tolist(), frame, strict=True):
        counts = [*frame[name].value_counts().tolist(), 0, 0]
        assert (different, most, second) == (frame[name].nunique(), counts[0], counts[1])


def test_values_that_do_not_fit_are_refused(cells):
    with pytest.raises(OverBudgetError, match="counting the values of 240 rows"):
        operate(cells(), "select", rules=["frequency"], memory=8 * 240 - 1)
    assert operate(cells(), "select", rules=["frequency"], memory=8 * 240).told["left_out"] == {}


def test_memory_of_frequency(bytes_a_row, cells):
    """Eight bytes a row of `memory`, four for the groups and a mask; while the groups are counted 21."""

    def work(table):
        operate(table, "select", rules=["frequency"], memory=8 * table.num_rows)

    assert bytes_a_row(cells, work) < 24


def test_negative_correlation_counts_on_request(cells, names, replaced):
    table = cells()
    table = replaced(table, **{names[1]: -table[names[0]].to_numpy()})
    rules = {"rules": ["correlation"], "controls": {"Metadata_Plate": "P0"}}
    assert operate(table, "select", **rules).told["left_out"] == {}
    assert operate(table, "select", signed=False, **rules).told["left_out"] == {"correlation": 1}


def test_correlation_with_holes_and_offsets_as_pandas(cells):
    from phenostream.profiles.groups import assign
    from phenostream.profiles.statistics import correlations, moments
    from phenostream.profiles.tables import Held

    rng = np.random.default_rng(1)
    values = rng.normal(size=(240, 3)) @ rng.normal(size=(3, 3)) + 1e7
    values[rng.random((240, 3)) < 0.1] = np.nan
    table = cells().select(["CellId"])
    for place in range(3):
        table = table.append_column(f"f{place}", [values[:, place]])
    source, names = Held(table), ["f0", "f1", "f2"]
    told = moments(source, names, assign(source, ()))
    found = correlations(source, names, np.ones(240, bool), told.mean[0], np.sqrt(told.variance[0]))
    np.testing.assert_allclose(found, table.select(names).to_pandas().corr().to_numpy(), rtol=1e-9)


@pytest.mark.parametrize("memory", [1 << 30, 2 * 20 * 240 * 2])
def test_rank_correlation_with_holes_and_ties_as_pandas(tmp_path, cells, memory):
    rng = np.random.default_rng(1)
    values = np.round(np.exp(rng.normal(size=(260, 5)) @ rng.normal(size=(5, 5))), 1)
    values[:, 1:3][rng.random((260, 2)) < 0.1] = np.nan
    values[:, 4] = 2.0
    rows = rng.permutation(260) < 240
    table = pa.table({f"f{place}": values[:, place] for place in range(5)})
    write_table(Held(table), tmp_path / "values.parquet", rows=50)
    names = table.column_names
    found = rank_correlations(open_table(tmp_path / "values.parquet"), names, rows, memory)
    expected = table.to_pandas()[rows].corr(method="spearman").to_numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_ranks_that_do_not_fit_are_refused(cells):
    rules = {"rules": ["correlation"], "correlation_method": "spearman"}
    with pytest.raises(OverBudgetError, match="ranks of two columns of 240 rows"):
        operate(cells(), "select", memory=5000, **rules)


def test_a_curved_relation_is_one_of_ranks(cells, names, replaced):
    table = cells()
    rules = {"rules": ["correlation"], "controls": {"Metadata_Plate": "P0"}}
    table = replaced(table, **{names[1]: np.exp(3 * table[names[0]].to_numpy())})
    left_out = {
        method: operate(table, "select", correlation_method=method, **rules).told["left_out"]
        for method in ("pearson", "spearman")
    }
    assert left_out == {"pearson": {}, "spearman": {"correlation": 1}}


def test_a_blocklist_by_name_or_file(cells, names, tmp_path):
    (tmp_path / "list.txt").write_text(f"blocklist\n{names[0]}\n")
    for given in ([names[0]], tmp_path / "list.txt"):
        assert operate(cells(), "select", rules=["blocklist"], blocklist=given).told["left_out"] == {"blocklist": 1}
    with pytest.raises(NotFoundError, match="no blocklist"):
        operate(cells(), "select", rules=["blocklist"], blocklist=tmp_path / "none.txt")
    with pytest.raises(RecipeError, match="no names"):
        operate(cells(), "select", rules=["blocklist"])


def test_nothing_left_is_an_error(cells):
    with pytest.raises(RecipeError, match="none of 3 features is left"):
        operate(cells(), "select", rules=["variance"], variance=1e12)
    with pytest.raises(RecipeError, match="noise needs replicates"):
        operate(cells(), "select", rules=["noise"])
