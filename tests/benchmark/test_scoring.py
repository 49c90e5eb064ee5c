"""Scores of a made-up table whose answers are known, against scikit-learn and plain counting."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn import metrics
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import KNeighborsClassifier

from phenostream.benchmark.calling import centroid_logs
from phenostream.benchmark.metrics.perturbation_magnitude import energy_distance
from phenostream.benchmark.perturbations import How, Wells, embedding_scores, standardised
from phenostream.benchmark.scoring import read_relations, score
from phenostream.errors import DamagedError, EmptyError, LeakageError, NotFiniteError, NotFoundError
from phenostream.values import Column, with_columns

CLASSES, EXPERIMENTS = 8, 6


def made(effect: float = 1.0, seed: int = 0, seen: int = 3) -> pa.Table:
    """Sites of 8 treatments and 4 controls on two plates of 6 experiments; two sites a well."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(CLASSES + 1, 5)) * effect
    centres[-1] = 0
    rows: list[dict[str, object]] = []
    for number in range(EXPERIMENTS):
        batch = rng.normal(size=5)
        for treatment in [*range(CLASSES), *[CLASSES] * 4]:
            # Treatments 0-3 share a plate, 4-7 the other; controls are on both.
            plate = 1 + (treatment // 4 + number) % 2 if treatment < CLASSES else 1 + len(rows) % 4 // 2
            well = f"{'BCDEFGHIJKLM'[len(rows) // 2 % 12]}02"
            for site in (1, 2):
                features = centres[treatment] + batch + 0.3 * rng.normal(size=5)
                logits = 2.0 * effect * (np.arange(CLASSES) == treatment) + rng.normal(size=CLASSES)
                logs = logits - np.log(np.exp(logits).sum())
                rows.append({
                    "Metadata_Experiment": f"{'HR'[number % 2]}-{number}", "Metadata_Plate": f"{number}_{plate}",
                    "Metadata_Well": well, "Metadata_Site": site, "Metadata_Cell_Type": "HR"[number % 2],
                    "Metadata_Sirna_Id": treatment, "Metadata_Seen": "plate" if number < seen else "no",
                    "Metadata_Well_Type": "treatment" if treatment < CLASSES else "negative_control",
                    **{f"PixelMean_{k}": float(np.exp(batch[k] + 0.1 * rng.normal())) for k in range(2)},
                    **{f"LogProbability_{k}": logs[k] for k in range(CLASSES)},
                    **{f"screen_{k}": features[k] for k in range(5)},
                })  # fmt: skip
    table = pa.Table.from_pylist(rows)
    roles = {"PixelMean": "qc", "LogProbability": "qc", "screen": "feature", "Metadata": "metadata"}
    told = [Column(n, roles[n.split("_")[0]], family=n.split("_")[0]) for n in table.column_names]
    return with_columns(table, told)


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return made()


@pytest.fixture(scope="module")
def told(table: pa.Table) -> dict:
    return score(table, draws=50, null=100)


def judged(table: pa.Table) -> tuple[np.ndarray, np.ndarray, list]:
    rows = [one for one in table.to_pylist() if one["Metadata_Seen"] == "no" and one["Metadata_Sirna_Id"] < CLASSES]
    logs = np.array([[one[f"LogProbability_{k}"] for k in range(CLASSES)] for one in rows])
    return logs, np.array([one["Metadata_Sirna_Id"] for one in rows]), rows


def test_site_accuracies_are_scikit_learns(table: pa.Table, told: dict) -> None:
    logs, truth, rows = judged(table)
    found = told["accuracy"]["site"]
    assert found["count"] == len(truth)
    assert abs(found["top1"]["value"] - metrics.accuracy_score(truth, logs.argmax(1))) < 1e-12
    assert abs(found["top5"]["value"] - metrics.top_k_accuracy_score(truth, logs, k=5)) < 1e-12
    assert abs(found["balanced"]["value"] - metrics.balanced_accuracy_score(truth, logs.argmax(1))) < 1e-12
    own = np.array([one["Metadata_Cell_Type"] == "R" for one in rows])
    kind = told["accuracy"]["by_cell_type"]["R"]["site"]["top1"]["value"]
    assert abs(kind - metrics.accuracy_score(truth[own], logs[own].argmax(1))) < 1e-12


def test_wells_are_called_by_the_mean_of_their_sites(table: pa.Table, told: dict) -> None:
    logs, truth, rows = judged(table)
    wells: dict[tuple, list[int]] = {}
    for place, one in enumerate(rows):
        wells.setdefault((one["Metadata_Plate"], one["Metadata_Well"]), []).append(place)
    right = [logs[places].mean(0).argmax() == truth[places[0]] for places in wells.values()]
    assert abs(told["accuracy"]["well"]["top1"]["value"] - np.mean(right)) < 1e-12
    assert told["screen"]["wells"] == len(wells) == 24


def test_layout_tricks_stand_apart_and_gain(told: dict) -> None:
    found = told["accuracy"]["layout_informed"]
    assert found["basis"] == "layout-informed, not generalisation"
    assert found["groups"] == 2
    assert found["capacity"] == 1
    plain = told["accuracy"]["well"]["top1"]["value"]
    assert found["plate_groups"]["value"] >= plain
    assert found["plate_groups_and_assignment"]["value"] >= found["plate_groups"]["value"] - 0.05


def test_baselines_are_always_there(told: dict) -> None:
    baselines = told["accuracy"]["baselines"]
    assert baselines["chance"]["value"] == 1 / CLASSES
    assert baselines["brightness"]["value"] < 0.35
    assert baselines["plate_mean"]["value"] < 0.35
    assert set(told["embedding"]) == {"model", "brightness", "plate_mean", "chance"}


def test_tvn_takes_out_the_batches(told: dict) -> None:
    raw, tvn = told["embedding"]["model"]["raw"], told["embedding"]["model"]["tvn"]
    assert tvn["retrieval"]["value"] > raw["retrieval"]["value"]
    assert tvn["retrieval"]["low"] > told["embedding"]["chance"]["raw"]["retrieval"]["value"]
    assert tvn["consistency"]["null"] < tvn["consistency"]["value"]


def test_tvn_is_that_of_efaar_unless_told_otherwise(table: pa.Table, told: dict) -> None:
    efaar, coral = (score(table, draws=50, null=100, align=align)["embedding"] for align in ("whiten", "coral"))
    assert told["embedding"] == efaar
    assert efaar["model"]["raw"] == coral["model"]["raw"]
    assert efaar["model"]["tvn"]["retrieval"] != coral["model"]["tvn"]["retrieval"]


def test_chance_has_intervals(told: dict) -> None:
    found = told["embedding"]["chance"]["raw"]
    for name in ("retrieval", "other_batch_neighbour", "consistency"):
        assert found[name]["low"] < found[name]["value"] < found[name]["high"], name


def test_an_empty_screen_is_at_chance() -> None:
    told = score(made(effect=0.0, seed=4), draws=200, null=100)
    site = told["accuracy"]["site"]["top1"]
    assert site["low"] <= 1 / CLASSES <= site["high"]
    tvn = told["embedding"]["model"]["tvn"]
    assert tvn["retrieval"]["value"] < 0.45
    assert tvn["consistency"]["significant_share"]["value"] < 0.5


def test_the_other_batchs_neighbour_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    label, batch = np.tile(np.arange(5), 4), np.repeat(np.arange(4), 5)
    values = standardised(rng.normal(size=(5, 3))[label] + 0.5 * rng.normal(size=(20, 3)))
    wells = Wells(label, batch, np.zeros(20, bool), np.full(20, ""), np.full(20, -1))
    found = embedding_scores(values, wells, How(0, 100, 0))
    right = []
    for row in range(20):
        others = batch != batch[row]
        nearest = KNeighborsClassifier(1, metric="cosine").fit(values[others], label[others])
        right.append(nearest.predict(values[[row]])[0] == label[row])
    assert found["other_batch_neighbour"]["value"] == np.mean(right)
    assert found["consistency"]["reason"] == "no profile is a control"


def test_centroids_never_use_the_own_batch() -> None:
    values, label, batch = np.array([[0.0], [1.0], [0.1], [5.0]]), np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    logs = centroid_logs(values, label, batch, np.ones(4, bool), 2)
    np.testing.assert_allclose(logs[:2], [[-0.01, -25], [-0.81, -16]])
    alone = centroid_logs(values, label, np.zeros(4, int), np.ones(4, bool), 2)
    assert np.isneginf(alone).all()


def test_relations_are_scored_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("entity1,entity2\n0,1\n2,3\n")
    assert read_relations(path) == [("0", "1"), ("2", "3")]
    told = score(made(), relations=path, draws=0, null=100)
    # Eight perturbations are too few for a map, and that is said.
    assert told["embedding"]["model"]["tvn"]["relationship_recall"]["reason"].startswith("a map of 8 entities")
    path.write_text("a,b\n1,2\n")
    with pytest.raises(DamagedError, match="entity1"):
        read_relations(path)
    with pytest.raises(NotFoundError):
        read_relations(tmp_path / "none.csv")


def test_without_probabilities_embeddings_are_scored_alone(table: pa.Table) -> None:
    names = [name for name in table.column_names if not name.startswith(("LogProbability", "PixelMean"))]
    told = score(table.select(names), draws=0, null=100)
    assert "accuracy" not in told
    assert set(told["embedding"]) == {"model", "chance"}


def test_it_is_the_same_from_a_file_and_again(table: pa.Table, told: dict, tmp_path: Path) -> None:
    pq.write_table(table, tmp_path / "t.parquet")
    assert json.dumps(score(tmp_path / "t.parquet", draws=50, null=100)) == json.dumps(told)


def test_bad_input_is_named(table: pa.Table) -> None:
    with pytest.raises(LeakageError, match="every treated row"):
        score(made(seen=EXPERIMENTS))
    with pytest.raises(NotFoundError, match="no column 'Metadata_Gene'"):
        score(table, perturbation="Metadata_Gene")
    with pytest.raises(NotFoundError, match="no column 'Metadata_Gene'"):
        score(table, entity="Metadata_Gene")
    with pytest.raises(EmptyError, match="no row is treated"):
        score(table, treated={"Metadata_Well_Type": "compound"})
    renamed = [name.replace("LogProbability_", "LogProbability_x") for name in table.column_names]
    columns = [Column(n, "qc", family="LogProbability") for n in renamed if n.startswith("LogProbability")]
    with pytest.raises(EmptyError, match="has a class that was learnt"):
        score(with_columns(table.rename_columns(renamed), columns))
    place = table.column_names.index("screen_2")
    gap = pa.array([None, *table["screen_2"].to_pylist()[1:]], pa.float64())
    with pytest.raises(NotFiniteError, match="1 rows with gaps"):
        score(table.set_column(place, table.schema.field("screen_2"), gap))


def relatives(perturbations: int = 30, controls: int = 40) -> pa.Table:
    """Perturbations in pairs of one direction, under a nuisance of all wells that is ten times as large."""
    rng = np.random.default_rng(1)
    centres = np.repeat(rng.normal(size=(perturbations // 2, 8)), 2, axis=0)
    nuisance = rng.normal(size=(3, 8))
    rows: list[dict[str, object]] = []
    for number in range(4):
        batch = rng.normal(size=8)
        for treatment in [*range(perturbations), *[perturbations] * controls]:
            effect = centres[treatment] if treatment < perturbations else 0
            values = effect + batch + 10 * rng.normal(size=3) @ nuisance + 0.2 * rng.normal(size=8)
            rows.append({
                "Metadata_Experiment": f"E-{number}", "Metadata_Plate": f"E-{number}_1", "Metadata_Site": 1,
                "Metadata_Well": f"{'BCDEFGHIJKLM'[len(rows) // 22 % 12]}{2 + len(rows) % 22}", "Metadata_Seen": "no",
                "Metadata_Sirna_Id": treatment,
                "Metadata_Well_Type": "treatment" if treatment < perturbations else "negative_control",
                **{f"screen_{k}": values[k] for k in range(8)},
            })  # fmt: skip
    table = pa.Table.from_pylist(rows)
    roles = {"screen": "feature", "Metadata": "metadata"}
    told = [Column(n, roles[n.split("_")[0]], family=n.split("_")[0]) for n in table.column_names]
    return with_columns(table, told)


@pytest.mark.parametrize(("align", "least"), [("whiten", 0.7), ("coral", 0.8)])
def test_relations_are_recalled_once_tvn_has_taken_out_what_controls_share(
    tmp_path: Path, align: str, least: float
) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("entity1,entity2\n" + "".join(f"{k},{k + 1}\n" for k in range(0, 30, 2)))
    told = score(relatives(), relations=path, draws=0, null=100, align=align)["embedding"]
    raw, tvn = (told["model"][name]["relationship_recall"] for name in ("raw", "tvn"))
    assert tvn["pairs"] == 15
    assert tvn["recall_0.05_0.95"]["value"] > least
    assert raw["recall_0.05_0.95"]["value"] < 0.5
    assert told["chance"]["raw"]["relationship_recall"]["recall_0.05_0.95"]["value"] < 0.35


def without_labels(table: pa.Table, experiment: str) -> pa.Table:
    """The same, but nobody is told what the treated wells of an experiment hold."""
    rows = table.to_pylist()
    given = [
        None if row["Metadata_Experiment"] == experiment and row["Metadata_Well_Type"] == "treatment"
        else row["Metadata_Sirna_Id"]
        for row in rows
    ]  # fmt: skip
    place = table.column_names.index("Metadata_Sirna_Id")
    return table.set_column(place, table.schema.field("Metadata_Sirna_Id"), pa.array(given, pa.int64()))


def test_what_has_no_label_is_counted_and_never_judged(table: pa.Table, told: dict) -> None:
    found = score(without_labels(table, "H-4"), draws=50, null=100)
    rest = score(table.filter(np.array(table["Metadata_Experiment"].to_pylist()) != "H-4"), draws=50, null=100)
    assert (told["screen"]["sites_without_label"], found["screen"]["sites_without_label"]) == (0, 2 * CLASSES)
    assert found["screen"]["experiments"] == rest["screen"]["experiments"] == ["R-3", "R-5"]
    assert found["screen"]["perturbations"] == CLASSES
    assert found["accuracy"] == rest["accuracy"]
    assert found["embedding"] == rest["embedding"]


def test_a_screen_of_which_no_label_is_known_is_refused(table: pa.Table) -> None:
    for number in range(3, EXPERIMENTS):
        table = without_labels(table, f"{'HR'[number % 2]}-{number}")
    with pytest.raises(EmptyError, match="none of the 48 treated sites of unseen experiments has a Metadata_Sirna_Id"):
        score(table)


def test_rows_without_numbers_are_counted_by_their_reason(table: pa.Table) -> None:
    reason = pa.array(["blank"] + [None] * (table.num_rows - 1), pa.string())
    assert score(table.append_column("Metadata_Left_Out", reason), draws=0, null=100)["screen"]["sites_left_out"] == {
        "blank": 1
    }
    with pytest.raises(EmptyError, match="every row of the table is left out: 144 blank"):
        score(table.append_column("Metadata_Left_Out", pa.array(["blank"] * table.num_rows)))


def unexpressed(genes: int = 25) -> pa.Table:
    """Six perturbations of growing effect, and controls that each are one of some genes with an effect of its own."""
    rng = np.random.default_rng(2)
    centres = rng.normal(size=(6 + genes, 5)) * np.concatenate([np.linspace(0.2, 2, 6), np.full(genes, 0.5)])[:, None]
    rows: list[dict[str, object]] = []
    for number in range(6):
        for gene in [*range(6), *[one for one in range(6, 6 + genes) for _ in range(2)]]:
            values = centres[gene] + 0.7 * rng.normal(size=5)
            rows.append({
                "Metadata_Experiment": f"E-{number}", "Metadata_Plate": f"E-{number}_1", "Metadata_Seen": "no",
                "Metadata_Well": f"W{len(rows)}", "Metadata_Gene": f"G{gene:02d}",
                "Metadata_Well_Type": "treatment" if gene < 6 else "negative_control",
                **{f"screen_{k}": values[k] for k in range(5)},
            })  # fmt: skip
    table = pa.Table.from_pylist(rows)
    told = [Column(n, "feature" if n.startswith("screen") else "metadata") for n in table.column_names]
    return with_columns(table, told)


@pytest.mark.parametrize("name", ["consistency", "magnitude"])
def test_genes_that_are_not_expressed_are_the_null(name: str) -> None:
    table = unexpressed()
    found = score(table, perturbation="Metadata_Gene", draws=0, null=100)["embedding"]["model"]["raw"][name]
    values = np.column_stack([table[f"screen_{k}"].to_numpy() for k in range(5)])
    values = (values - values.mean(axis=0)) / values.std(axis=0)
    gene = np.array(table["Metadata_Gene"].to_pylist())
    control = gene >= "G06"

    def figure(own: np.ndarray) -> float:
        if name == "magnitude":
            return energy_distance(values[own], values[control & ~own])
        near = cosine_similarity(values[own])
        return float(near[np.triu_indices(len(near), 1)].mean())

    null = np.sort([figure(gene == f"G{one:02d}") for one in range(6, 31)])
    seen = np.array([figure(gene == f"G{one:02d}") for one in range(6)])
    assert (found["null_of"], found["null_sets"]) == ("control perturbations", 25)
    assert abs(found["null"] - null.mean()) < 1e-12
    assert abs(found["value"] - seen.mean()) < 1e-12
    p_value = 1 - np.searchsorted(null, seen) / 25
    assert found["significant_share"]["value"] == np.mean(p_value <= 0.05)
    assert 0 < found["significant_share"]["value"] < 1


def test_fewer_genes_leave_a_drawn_null() -> None:
    told = score(unexpressed(19), perturbation="Metadata_Gene", draws=0, null=100)["embedding"]["model"]["raw"]
    assert (told["consistency"]["null_of"], told["consistency"]["null_sets"]) == ("drawn control wells", 100)
